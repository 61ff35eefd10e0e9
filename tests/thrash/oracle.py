"""The oracle of a volume: what each of its blocks may be, by what clients were told."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.thrash.blocks import ZERO, Foreign, unpack

UNTOUCHED = frozenset({ZERO})


@dataclass(frozen=True, slots=True)
class Write:
    """A write under way: the blocks from `first` on, and what they are to be."""

    first: int
    count: int
    sequence: int

    @property
    def blocks(self) -> range:
        return range(self.first, self.first + self.count)


class Readable:
    """What may be read of each block: the last acknowledged write, or any that may have landed."""

    def __init__(self, volume: str) -> None:
        self.volume = volume
        self.right: dict[int, frozenset[int]] = {}

    def of(self, block: int) -> frozenset[int]:
        return self.right.get(block, UNTOUCHED)

    def wrong(self, block: int, data: bytes) -> str:
        """Say what is wrong with a block that was read; nothing where nothing is."""
        try:
            sequence = unpack(self.volume, block, data)
        except Foreign as found:
            return f"block {block}: {found}; right: {sorted(self.of(block))}"
        if sequence in self.of(block):
            return ""
        return f"block {block}: write {sequence}; right: {sorted(self.of(block))}"


class Oracle(Readable):
    """The content of a volume while it is written; asked from several threads.

    One thread writes a block at a time. A write whose outcome nobody knows may have landed, until
    one after it is acknowledged.
    """

    def __init__(self, volume: str) -> None:
        super().__init__(volume)
        self._lock = threading.Lock()
        self._last = 0
        self._abandoned: dict[int, frozenset[int]] = defaultdict(frozenset)
        self._taking: list[Readable] = []

    def begin(self, first: int, count: int, *, zeroes: bool = False) -> Write:
        """Note that a write is sent: from now on it may be read, and be in a snapshot."""
        with self._lock:
            self._last += 1
            write = Write(first, count, ZERO if zeroes else self._last)
            for content in (self, *self._taking):
                for block in write.blocks:
                    content.right[block] = content.of(block) | {write.sequence}
        return write

    def acknowledge(self, write: Write) -> None:
        """Note that a write was acknowledged: what was before it is never read again."""
        with self._lock:
            for block in write.blocks:
                self.right[block] = self._abandoned[block] | {write.sequence}

    def abandon(self, write: Write) -> None:
        """Note that nobody waits any longer for a write that its head may still carry out."""
        with self._lock:
            for block in write.blocks:
                self._abandoned[block] |= {write.sequence}

    def settle(self, block: int, data: bytes) -> None:
        """Note what a block is, now that all its replicas are equal and no write is under way."""
        with self._lock:
            self._abandoned.pop(block, None)
            self.right[block] = frozenset({unpack(self.volume, block, data)})

    @contextmanager
    def snapshot(self) -> Iterator[Readable]:
        """Tell what a snapshot may hold whose instant lies between beginning and end."""
        taken = Readable(self.volume)
        with self._lock:
            taken.right = dict(self.right)
            self._taking.append(taken)
        try:
            yield taken
        finally:
            with self._lock:
                self._taking.remove(taken)
