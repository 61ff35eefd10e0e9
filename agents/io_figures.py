"""What a node tells of a volume or disk, as a line of text: so little that many can be told."""

from enum import StrEnum
from typing import NamedTuple


class IoFigures(NamedTuple):
    """Counts since a process was started, by the number of a volume or disk.

    One request in some is timed: `…_timed` tells how many, `…_us` how many microseconds these took.
    """

    number: int
    reads: int = 0
    read_bytes: int = 0
    reads_timed: int = 0
    read_us: int = 0
    writes: int = 0
    write_bytes: int = 0
    writes_timed: int = 0
    write_us: int = 0


def write_line(figures: IoFigures) -> str:
    """Write whole numbers, in the order of the members."""
    return " ".join(map(str, figures))


def read_line(line: str) -> IoFigures:
    """Read a line; what a newer node adds at its end is skipped. ValueError where it is none."""
    words = line.split()[: len(IoFigures._fields)]
    numbers = [int(word) for word in words]
    if len(numbers) < len(IoFigures._fields) or min(numbers) < 0:
        raise ValueError(f"{line[:80]!r} tells no figures")
    return IoFigures._make(numbers)


class Way(StrEnum):
    """How users reach a volume on its head."""

    BLOCK = "block"
    SOCKET = "socket"
    NONE = "none"

    @classmethod
    def _missing_(cls, value: object) -> "Way | None":
        """Take what only a newer node knows for nothing."""
        return cls.NONE if value else None


class VolumeOnHead(NamedTuple):
    """A volume as its head shows it: who has it open, and of a snapshot what it keeps."""

    number: int
    clients: int
    held_mib: int
    way: Way


def write_shown(shown: VolumeOnHead) -> str:
    """Write it as a line."""
    return " ".join(map(str, shown))


def read_shown(line: str) -> VolumeOnHead:
    """Read a line; ValueError where it is none."""
    number, clients, held, way, *_ = [*line.split(), "", "", "", ""]
    return VolumeOnHead(int(number), int(clients), int(held), Way(way))
