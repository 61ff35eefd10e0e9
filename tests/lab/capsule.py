"""The lab's own namespaces: of processes, mounts and networks. Whatever is in them ends with them.

The lab's first process is the first one of its process namespace. When it ends, however it ends,
the kernel kills all others in there; with the last one go mounts, files, cables and addresses.
"""

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from deploy.local import processes
from deploy.local.place import ROOT, Unusable
from tests.lab.place import CACHE, RUN
from tests.lab.tools import run

PART = "lab"
UNSHARE = (
    "unshare",
    "--net",
    "--mount",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def enter(*words: str) -> NoReturn:
    """Become the lab's first process: these words of ours, in namespaces of their own."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    marks = {processes.HOME_MARK: str(CACHE), processes.PART_MARK: PART, "TMPDIR": str(RUN)}
    marks["VASTSKY_HOME"] = str(RUN / "tests")  # what Django in the tests' process is told
    os.execvpe(UNSHARE[0], [*UNSHARE, *_again(*words)], os.environ | marks)  # noqa: S606


def is_inside() -> bool:
    """Tell whether this process is in a lab: nobody else sees a file system there."""
    return RUN.is_mount()


def settle() -> None:
    """Make ourselves at home inside: a file system in memory, and an end when we are asked to."""
    run("mount", "-t", "tmpfs", "-o", "mode=700", "lab", RUN)
    # The first process of a namespace gets no signal that it does not handle.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)


def join(*words: str) -> NoReturn:
    """Run these words of ours in the lab that is up, at its networks and files."""
    marked = sorted(processes.marked(CACHE, PART), key=lambda process: process.started)
    # Its addresses are its own: from elsewhere, they would be somebody else's.
    found = [process for process in marked if _network(process.pid) != _network(os.getpid())]
    if not found:
        raise Unusable("no lab is up; `make lab KEEP=1` starts one that stays")
    target = ["nsenter", "--target", str(found[0].pid), "--net", "--mount", "--"]
    target += ["env", f"--chdir={ROOT}"]
    os.execvp(target[0], [*target, *_again(*words)])  # noqa: S606


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _again(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.lab", *words]


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
