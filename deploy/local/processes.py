"""Processes: started with a mark, found again by it, ended by pid and start time.

Every process that we start, and whatever it starts itself (engines detach from their agents),
inherits two environment variables: the cluster's home and the part's name. The mark is written at
birth and cannot be mistaken for another process after pids were reused.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.place import ROOT

HOME_MARK = "VASTSKY_CLUSTER_HOME"
PART_MARK = "VASTSKY_CLUSTER_PART"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that bears a home's mark; `started` (clock ticks after boot) tells pids apart."""

    pid: int
    started: int
    part: str

    def alive(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal this very process; one that is gone is fine."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def marked(home: Path, part: str | None = None) -> list[Process]:
    """Find what runs for this home: all of it, or one part."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        marks = _marks(entry)
        if marks.get(HOME_MARK) != str(home) or part not in (None, marks.get(PART_MARK)):
            continue
        started = _started(int(entry.name))
        if started:
            found.append(Process(int(entry.name), started, marks.get(PART_MARK, "")))
    return found


def end(find: Callable[[], Iterable[Process]], *, grace: float) -> int:
    """Ask all that `find` finds to end, wait, then force what is left; how many there were."""
    ended: set[Process] = set()
    deadline = time.monotonic() + grace
    # One that is just ending has lost its mark already but still holds its ports and files.
    while running := [process for process in {*find(), *ended} if process.alive()]:
        asked = time.monotonic() < deadline
        for process in running:
            if not asked or process not in ended:
                process.send(signal.SIGTERM if asked else signal.SIGKILL)
        ended.update(running)
        time.sleep(0.05)
    return len(ended)


def start(
    command: Sequence[str],
    *,
    home: Path,
    part: str,
    log: Path,
    environment: Mapping[str, str],
    tree: Path = ROOT,
) -> subprocess.Popen[bytes]:
    """Start a part in a session of its own (Ctrl-C reaches only us), output appended to `log`."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        return subprocess.Popen(
            list(command),
            cwd=tree,
            env={**environment, HOME_MARK: str(home), PART_MARK: part},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _marks(entry: Path) -> dict[str, str]:
    try:
        raw = (entry / "environ").read_bytes()
    except OSError:  # gone meanwhile, or somebody else's
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0"))
    ours = (HOME_MARK.encode(), PART_MARK.encode())
    return {name.decode(): os.fsdecode(value) for name, _, value in pairs if name in ours}


def _started(pid: int) -> int:
    """Read the start time of a living process; 0: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return 0 if fields[0] in "ZX" else int(fields[19])
