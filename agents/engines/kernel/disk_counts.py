"""What users asked of volumes, as the kernel counts it for each of its devices.

It times every request, in milliseconds together; how many took how long it does not know, nor how
many failed. A request to make things durable counts as a write of no bytes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

from agents.engines.base import DeviceFigures, OperationFigures
from agents.ondisk import SECTOR

PLACES = {"read": 3, "write": 7, "discard": 14}
"""Where in a line of /proc/diskstats there are requests, merged ones, sectors, milliseconds."""


def figures(text: str, volumes: Iterable[tuple[int, int]]) -> Iterator[DeviceFigures]:
    """Tell what was counted of volumes, each of which has a device of that number."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        found[os.makedev(int(words[0]), int(words[1]))] = words
    for lvolid, number in volumes:
        words = found.get(number, [])
        operations = (_operation(name, words[at : at + 4]) for name, at in PLACES.items())
        yield DeviceFigures(lvolid, tuple(one for one in operations if one is not None))


def _operation(name: str, words: Sequence[str]) -> OperationFigures | None:
    if not words:  # an older kernel counts no discards
        return None
    requests, _, sectors, milliseconds = map(int, words)
    return OperationFigures(
        name, requests, sectors * SECTOR, 0, milliseconds / 1000, (), (requests,)
    )
