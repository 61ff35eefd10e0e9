"""docs/install.md, typed as it stands, on six machines that have nothing but Debian."""

import json
import re
import time
from pathlib import Path

from tests.packages.machines import Machine, running
from tests.packages.page import Typed, steps, typed

PAGE = Path(__file__).parents[3] / "docs/install.md"
PASSWORD = "a password that is not a common one"
STRING = re.compile(r"vastsky-node join (\S+)")
SIX = [
    Machine("manager-1", ("10.1.0.1", "10.2.0.1")),
    Machine("head-1", ("10.1.0.11", "10.2.0.11")),
    *(Machine(f"storage-{n}", (f"10.1.0.2{n}", f"10.2.0.2{n}"), disks=2) for n in (1, 2, 3, 4)),
]


def test_twelve_steps_lead_from_bare_servers_to_a_volume(base: Path, tmp_path: Path) -> None:
    assert steps(PAGE) == list(range(1, 13))

    with running(base, SIX, tmp_path):
        began = time.monotonic()
        strings: dict[str, str] = {}
        for one in typed(PAGE):
            for machine in _machines(one):
                _type(machine, one, strings)
        print(f"{time.monotonic() - began:.0f} s")  # without what a person takes to type

        manager = SIX[0]
        (volume,) = json.loads(manager.run("vastsky volume list --json"))
        assert manager.run("vastsky-manage fsck") == ""
    assert (volume["lvolname"], volume["redundancy"], volume["hsvrid"]) == ("first", 3, 1)


def _machines(one: Typed) -> list[Machine]:
    kinds = {"every-node": SIX[1:], "every-storage": SIX[2:]}
    return kinds.get(one.machine) or [machine for machine in SIX if machine.name == one.machine]


def _type(machine: Machine, one: Typed, strings: dict[str, str]) -> None:
    script = one.script.replace("STRING", strings.get(machine.name, "STRING"))
    asked = f"{PASSWORD}\n{PASSWORD}\n" if "createsuperuser" in script else ""
    began = time.monotonic()
    told = machine.run(script, typed=asked)
    print(f"{machine.name}# {script} ({time.monotonic() - began:.0f} s)\n{told}")
    if found := STRING.search(told):
        name = script.split("node add ")[1].split()[0]
        strings[name] = found[1]
