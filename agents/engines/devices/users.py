"""Who uses a block device: what is mounted, built on top, or just has it open; in words."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from agents.engines.devices.block_device import DEV, SYS_BLOCK, BlockDevice

PROC = Path("/proc")
MAPPER = {"LVM-": "LVM", "CRYPT-": "dm-crypt", "mpath-": "multipath"}
"""How the uuid of a device of the device mapper begins, and what made it."""
TOLD = 4
"""Of those who merely have it open, so many are named."""


def holders(device: BlockDevice) -> list[str]:
    """Say what is built on a device or a partition of it, as far as that can be read."""
    parts = list(_with_partitions(device.name))
    nodes = {str(DEV / part.name) for part in parts}
    said = [words for part in parts for words in _holders(part)]
    return [*said, *_mounts(_numbers(parts), nodes), *_swap(nodes)]


def openers(device: BlockDevice) -> Iterator[str]:
    """Say which other processes have a device or a partition of it open, if only for a look."""
    numbers = _numbers(_with_partitions(device.name))
    found = [name for process in _processes() if (name := _opener(process, numbers))]
    yield from found[:TOLD]
    if len(found) > TOLD:
        yield f"{len(found) - TOLD} more have it open"


def _with_partitions(name: str) -> Iterator[Path]:
    folder = SYS_BLOCK / name
    yield folder
    with contextlib.suppress(OSError):
        for inside in sorted(folder.iterdir()):
            if (inside / "partition").exists():
                yield inside


def _numbers(parts: Iterable[Path]) -> set[str]:
    numbers = set()
    for part in parts:
        with contextlib.suppress(OSError):
            numbers.add((part / "dev").read_text().strip())
    return numbers


def _holders(part: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for holder in sorted((part / "holders").iterdir()):
            yield f"it is part of {_title(holder)}"


def _title(holder: Path) -> str:
    """Name a device that is built on others by what made it."""
    if (holder / "md").exists():
        return f"the array {holder.name} (md)"
    with contextlib.suppress(OSError):
        name = (holder / "dm/name").read_text().strip()
        uuid = (holder / "dm/uuid").read_text()
        made = next((what for start, what in MAPPER.items() if uuid.startswith(start)), "dm")
        return f"{DEV}/mapper/{name} ({made})"
    return holder.name


def _mounts(numbers: set[str], nodes: set[str]) -> Iterator[str]:
    """Find mounts by number; those of file systems with numbers of their own, by name."""
    seen = set()
    for lines in _mount_tables():
        for line in lines:
            before, _, after = line.partition(" - ")
            words, more = before.split(), after.split()
            if words[2] in numbers or (len(more) > 1 and more[1] in nodes):
                seen.add(words[4].encode().decode("unicode_escape"))
    for place in sorted(seen):
        yield f"it is mounted on {place}"


def _mount_tables() -> Iterator[list[str]]:
    """Read the mounts of every mount namespace once: containers have their own."""
    read = set()
    for process in _processes():
        with contextlib.suppress(OSError):
            namespace = (process / "ns/mnt").readlink()
            if namespace not in read:
                read.add(namespace)
                yield (process / "mountinfo").read_text().splitlines()


def _swap(nodes: set[str]) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in (PROC / "swaps").read_text().splitlines()[1:]:
            if line.split()[0] in nodes:
                yield "it is swap space"


def _opener(process: Path, numbers: set[str]) -> str:
    if process.name == str(os.getpid()):
        return ""
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            if _opened(descriptor) in numbers:
                command = (process / "comm").read_text().strip()
                return f"process {process.name} ({command}) has it open"
    return ""


def _opened(descriptor: Path) -> str:
    with contextlib.suppress(OSError):
        number = descriptor.stat().st_rdev
        return f"{os.major(number)}:{os.minor(number)}" if number else ""
    return ""


def _processes() -> Iterator[Path]:
    yield from (folder for folder in PROC.iterdir() if folder.name.isdigit())
