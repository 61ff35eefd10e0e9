"""What the monitor has seen, told and still has to tell, in a file that outlives it."""

import errno
import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.errors import AgentError
from agents.monitor.our_disks import OurDisk
from agents.struct_codec import Malformed, from_struct, to_struct

VERSION = 1
DISK = -1
"""In place of a block: the disk as a whole."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that was seen, or told, of a GB of a disk; `at` is in seconds since 1970."""

    pdskid: int
    block: int
    at: int


@dataclass(frozen=True, slots=True)
class Untold:
    """What the manager has not taken yet: that a GB is bad, or that the disk failed, and why."""

    pdskid: int
    block: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MonitorMemory:
    """All of it. `record` is the last one that was read of the kernel's log since this boot.

    `disks` are ours, as the manager said last: it may be away when one fails.
    """

    version: int = VERSION
    boot: str = ""
    record: int = -1
    seen: tuple[Sign, ...] = ()
    told: tuple[Sign, ...] = ()
    notes: tuple[Untold, ...] = ()
    disks: tuple[OurDisk, ...] = ()


def change(path: Path, decide: Callable[[MonitorMemory], MonitorMemory]) -> MonitorMemory:
    """Let nobody else write meanwhile; what was decided is on stable storage when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read(path)
        after = decide(before)
        if after != before:
            _write(path, json.dumps(to_struct(after)))
        return after


def read(path: Path) -> MonitorMemory:
    """Read the file; a newer version's is refused, and left as it is."""
    try:
        struct = json.loads(path.read_text())
    except FileNotFoundError:
        return MonitorMemory()
    except ValueError:
        struct = None  # not ours, or damaged: what is still so is told once more
    version = struct.get("version") if isinstance(struct, dict) else None
    if isinstance(version, int) and version > VERSION:
        text = f"{path} is of version {version}, and this monitor knows {VERSION}"
        raise AgentError(errno.EPROTONOSUPPORT, f"{text}: start the newer one that wrote it")
    try:
        return from_struct(MonitorMemory, struct)
    except Malformed:
        return MonitorMemory()


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
