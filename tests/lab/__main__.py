"""`make lab`: start a lab and run its tests there; `make lab KEEP=1`: start one and leave it up."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from deploy.local.observe import Failed
from deploy.local.place import ROOT, Unusable
from tests.lab import capsule, guest_commands, image, tools
from tests.lab.cluster import RUNNING, VirtualLab, running_lab
from tests.lab.guest import GuestFailed
from tests.lab.place import MACHINES, RUN, GuestSpec

STAYS = """
It stays until Ctrl-C here. In another terminal:
    make lab-login NODE=head-1    a shell in a guest: {names}
    make lab-login NODE=manager   a shell on the manager: manage.py, its logs and database
"""


class Provided:
    """Gives tests the lab that is up."""

    def __init__(self, lab: VirtualLab) -> None:
        self._lab = lab

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUNNING] = self._lab


def main() -> int:
    """Do what is asked for: outside of the lab, or, once more, inside."""
    wish = _arguments()
    try:
        if wish.what == "login":
            capsule.join("shell", wish.machine, f"--command={wish.command}")
        if wish.what == "shell":
            return _shell(wish.machine, wish.command)
        if wish.what == "inside":
            return _inside(shlex.split(wish.tests), keep=wish.keep)
        tools.see_to_packages()
        image.ensure()
        keep = ["--keep"] if wish.keep else []
        capsule.enter("inside", f"--tests={wish.tests}", *keep)
    except Unusable as error:
        print(error, file=sys.stderr)
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.lab", description=__doc__)
    parser.add_argument("what", choices=("start", "login", "inside", "shell"))
    parser.add_argument("--keep", action="store_true", help="leave it up until Ctrl-C")
    parser.add_argument("--tests", default="", help="what to run there, in pytest's words")
    parser.add_argument("--command", default="", help="what to run there, instead of a shell")
    parser.add_argument("machine", nargs="?", default="manager", help="where to log in")
    return parser.parse_args()


def _inside(words: list[str], *, keep: bool) -> int:
    capsule.settle()
    status = 0
    try:
        with running_lab(image.ensure()) as lab:
            if words:
                options = ["--import-mode=importlib", "-p", "no:cacheprovider"]
                status = int(pytest.main([*options, *words], plugins=[Provided(lab)]))
            if keep:
                print(STAYS.format(names=" ".join(m.name for m in MACHINES)), flush=True)
                signal.pause()
    except KeyboardInterrupt:
        return 130
    except (GuestFailed, Failed) as error:
        print(f"The lab did not start: {error}", file=sys.stderr)
        return 1
    return status


def _shell(name: str, command: str) -> int:
    if not capsule.is_inside():
        raise Unusable("this is no lab")
    if name == "manager":
        begin = f". {RUN}/manager.sh; cd {shlex.quote(str(ROOT))}; PATH={_bin()}:$PATH"
        os.execvp("bash", ["bash", "-c", f"{begin}; {command or 'exec bash'}"])  # noqa: S606
    for machine in MACHINES:
        if machine.name == name:
            return _use(machine, command)
    names = " ".join(machine.name for machine in MACHINES)
    raise Unusable(f"{name} is not in the lab; there are manager {names}")


def _use(machine: GuestSpec, command: str) -> int:
    if not command:
        guest_commands.converse(machine)
        return 0
    done = guest_commands.attempt(machine, command, timeout=600)
    sys.stdout.buffer.write(done.output)
    sys.stderr.buffer.write(done.errors)
    return done.status


def _bin() -> str:
    return shlex.quote(str(Path(sys.executable).parent))


if __name__ == "__main__":
    sys.exit(main())
