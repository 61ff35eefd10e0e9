"""How the samples of many objects lie in one row: pure.

An object takes 16 bytes: its number, and six figures in two bytes each, the upper half of a float
of 32 bits: they are wrong by half a percent at most. First come all numbers, then all figures.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from operator import add
from typing import NamedTuple

from volumes.sample_models import IoSample

FIGURES = 6
NUMBER = 4
WIDTH = 2 * FIGURES
VOLUMES_APART = 251
"""Rows in which volumes are: their numbers are far apart, those of extents lie between. A prime:
equal distances between numbers do not lead all into one row."""
TOGETHER = 64
"""Numbers of other objects in a row: they are adjacent."""
ROUND = 1 + 1 / 384
"""Half of the last place that is kept, on the average: what is cut off was added before."""


class Io(NamedTuple):
    """What was asked of something, a second.

    `…_wait`: seconds that requests waited, of all together, a second: how many were under way on
    the average. By the number of requests it is how long one took. All six of a whole are the sums
    of its parts, and those of an hour the means of its minutes.
    """

    reads: float = 0.0
    writes: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    read_wait: float = 0.0
    write_wait: float = 0.0

    @property
    def read_ms(self) -> float | None:
        """How long a read took, in milliseconds; None where none was timed."""
        return 1000 * self.read_wait / self.reads if self.reads and self.read_wait else None

    @property
    def write_ms(self) -> float | None:
        """How long a write took, in milliseconds; None where none was timed."""
        return 1000 * self.write_wait / self.writes if self.writes and self.write_wait else None

    @property
    def queue(self) -> float:
        """How many requests were under way on the average."""
        return self.read_wait + self.write_wait


NOTHING = Io()
Kind = IoSample.Kind


class Space(NamedTuple):
    """How much of something was used. It lies in the first two of the six figures."""

    used_gb: float
    capacity_gb: float

    @property
    def packed(self) -> Io:
        """Write it as what a row can hold."""
        return Io(*self)

    @classmethod
    def read(cls, io: Io) -> "Space":
        """Read it out of what a row held."""
        return cls(io.reads, io.writes)


def shard_of(kind: Kind, number: int) -> int:
    """Tell in which rows an object is."""
    return number % VOLUMES_APART if kind == Kind.VOLUME else number // TOGETHER


def total(parts: Iterable[Io]) -> Io:
    """Add up what belongs together."""
    return Io(*map(sum, zip(*parts, strict=True))) if (parts := list(parts)) else NOTHING


def shards(kind: Kind, samples: Mapping[int, Io]) -> Iterator[tuple[int, bytes]]:
    """Pack what was measured of objects, by their numbers; a row each."""
    rows: dict[int, list[int]] = {}
    for number in sorted(samples):
        rows.setdefault(shard_of(kind, number), []).append(number)
    for shard, numbers in rows.items():
        figures = [figure for number in numbers for figure in samples[number]]
        yield shard, _pack(struct.pack(f">{len(numbers)}I", *numbers), figures)


def _pack(numbers: bytes, figures: list[float]) -> bytes:
    whole = struct.pack(f"<{len(figures)}f", *[figure * ROUND for figure in figures])
    halves = bytearray(2 * len(figures))
    halves[0::2], halves[1::2] = whole[2::4], whole[3::4]
    return numbers + halves


def find(data: bytes, number: int) -> Io | None:
    """Read what a row tells of one object."""
    wanted, end = number.to_bytes(NUMBER), _end_of_numbers(data)
    place = data.find(wanted, 0, end)
    while place >= 0 and place % NUMBER:  # the end of one number and the begin of the next
        place = data.find(wanted, place + 1, end)
    if place < 0:
        return None
    begin = end + place // NUMBER * WIDTH
    return Io(*_figures(data[begin : begin + WIDTH]))


def _end_of_numbers(data: bytes) -> int:
    return len(data) // (NUMBER + WIDTH) * NUMBER


def _figures(halves: bytes) -> list[float]:
    whole = bytearray(2 * len(halves))
    whole[2::4], whole[3::4] = halves[0::2], halves[1::2]
    return list(struct.unpack(f"<{len(halves) // 2}f", whole))


def mean(rows: Iterable[bytes]) -> bytes:
    """Make one row of several of a shard: of each object the mean of those that tell of it."""
    sums: dict[int, tuple[list[float], int]] = {}
    numbers, figures, count = b"", list[float](), 0
    for row in rows:
        end = _end_of_numbers(row)
        here, more = row[:end], _figures(row[end:])
        if here == numbers:  # mostly: the same objects as a minute before
            figures, count = list(map(add, figures, more)), count + 1
            continue
        _add(sums, numbers, figures, count)
        numbers, figures, count = here, more, 1
    _add(sums, numbers, figures, count)
    kept = sorted(sums)
    means = [figure / sums[number][1] for number in kept for figure in sums[number][0]]
    return _pack(struct.pack(f">{len(kept)}I", *kept), means)


def _add(
    sums: dict[int, tuple[list[float], int]], numbers: bytes, figures: list[float], count: int
) -> None:
    for nth, (number,) in enumerate(struct.iter_unpack(">I", numbers)):
        own = figures[nth * FIGURES : (nth + 1) * FIGURES]
        before, times = sums.get(number, ([0.0] * FIGURES, 0))
        sums[number] = list(map(add, before, own)), times + count
