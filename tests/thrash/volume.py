"""A volume of the thrasher: its writers, its oracle, and the snapshots that were taken of it."""

from collections.abc import Iterator
from pathlib import Path

from deploy.local.ledger import spread
from deploy.local.nbd import NbdClient
from tests.thrash.blocks import BLOCK
from tests.thrash.figures import Figures
from tests.thrash.oracle import Oracle, Readable
from tests.thrash.writer import REGION, Writer

REGIONS = 24
WRITERS = 2
ENDS = 10
"""Seconds in which a writer ends; then its connection is torn."""
GB = 1 << 30
LARGEST_MIRROR_GB = 10


class Volume:
    """One volume; it is written wherever `use` said last."""

    def __init__(
        self, name: str, capacity: int, redundancy: int, seed: int, figures: Figures
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.redundancy = redundancy
        self.oracle = Oracle(name)
        self.snapshots: dict[str, Readable] = {}
        self.head = ""
        self.regions = _regions(capacity)
        self._writers = [
            Writer(self.oracle, self.regions[n::WRITERS], f"{seed} {name} {n}", figures)
            for n in range(WRITERS)
        ]

    def start(self) -> None:
        for writer in self._writers:
            writer.start()

    def use(self, head: str, link: Path) -> None:
        """Write there from now on; connections to a head that had it before are torn."""
        moved, self.head = head != self.head, head
        for writer in self._writers:
            writer.link = link
            if moved:
                writer.cut()

    def rest(self) -> bool:
        """Have no write under way and no connection open; whether that came about."""
        for writer in self._writers:
            writer.link = None
        return all(writer.rest() for writer in self._writers)

    def end(self) -> None:
        """End the writers, in order where they can be."""
        for writer in self._writers:
            writer.over, writer.link = True, None
        for writer in self._writers:
            writer.join(ENDS)
            writer.cut()

    def blocks(self) -> Iterator[int]:
        """Number all blocks that may ever have been written."""
        for region in self.regions:
            yield from range(region, region + REGION)


def read(link: Path, content: Readable, regions: list[int]) -> tuple[dict[int, bytes], list[str]]:
    """Read the regions of a volume or snapshot back: all blocks, and what is wrong with them."""
    blocks: dict[int, bytes] = {}
    with NbdClient(link, timeout=60) as device:
        for region in regions:
            data = device.read(region * BLOCK, REGION * BLOCK)
            for n in range(REGION):
                blocks[region + n] = data[n * BLOCK : (n + 1) * BLOCK]
    wrong = [content.wrong(block, data) for block, data in blocks.items()]
    return blocks, [text for text in wrong if text]


def _regions(capacity: int) -> list[int]:
    """Spread regions over a volume, both ends included; one lies across the edge of a mirror."""
    regions = [offset // BLOCK for offset in spread(capacity * GB, REGIONS)]
    if capacity > LARGEST_MIRROR_GB:
        regions.append(LARGEST_MIRROR_GB * GB // BLOCK - REGION // 2)
    return regions
