"""docs/install.md, typed as it stands, on six machines that have nothing but Debian."""

import json
import time
from pathlib import Path

from tests.packages.machines import running, six
from tests.packages.page import steps
from tests.packages.typist import Typist

PAGE = Path(__file__).parents[3] / "docs/install.md"


def test_twelve_steps_lead_from_bare_servers_to_a_volume(base: Path, tmp_path: Path) -> None:
    assert steps(PAGE) == list(range(1, 13))

    machines = six()
    with running(base, machines, tmp_path):
        began = time.monotonic()
        Typist(machines).type(PAGE)
        print(f"{time.monotonic() - began:.0f} s")  # without what a person takes to type

        manager = machines[0]
        (volume,) = json.loads(manager.run("vastsky volume list --json"))
        assert manager.run("vastsky-manage fsck") == ""
    assert (volume["lvolname"], volume["redundancy"], volume["hsvrid"]) == ("first", 3, 1)
