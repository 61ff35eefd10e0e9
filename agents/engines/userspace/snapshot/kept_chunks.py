"""The chunks that a snapshot's store keeps of its origin: which there are, reading, adding."""

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import Future, io
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import (
    BITMAP_BLOCK,
    COW_CHUNK,
    KERNELS_STORE,
    StoreLayout,
    pack_store,
    store_layout,
    unpack_store,
)
from agents.ondisk import MIB

BITMAP_READ = MIB
CHUNKS_PER_BLOCK = 8 * BITMAP_BLOCK

Run = tuple[int, Any]
"""Adjacent chunks to keep: the first one's number, and the data of all."""


class NotItsStore(EngineError):
    """The store was read, and is not this snapshot's: no other try will find it so."""


class KeptChunks:
    """A snapshot's store, which is a mirrored volume."""

    def __init__(self, store: Volume, origin_bytes: int) -> None:
        self.held = 0
        self.broken = False
        self._store = store
        self._origin_bytes = origin_bytes
        self._layout = store_layout(origin_bytes)
        self._bitmap = bytearray(self._layout.bitmap_bytes)

    async def load(self, *, fresh: bool) -> None:
        """Read what it holds; make a store of one that is all zero, if it may be `fresh`."""
        name = f"the store of snapshot {self._store.lvolid}"
        if self._layout.data_at + self._origin_bytes > self._store.size:
            raise NotItsStore(errno.EINVAL, f"{name} is too small")
        header = await self._read(0, COW_CHUNK)
        if fresh and not any(header):
            if await self._write_header(self._layout):
                raise EngineError(errno.EIO, f"{name} cannot be written")
            return
        if header.startswith(KERNELS_STORE):
            raise EngineError(
                errno.EPROTONOSUPPORT,
                f"{name} is the kernel engine's: attach its origin to a head of that engine,"
                " or delete the snapshot",
            )
        found = unpack_store(header)
        if found is None or found._replace(broken=False) != self._layout:
            raise NotItsStore(errno.EINVAL, f"{name} holds something else")
        self.broken = found.broken
        await self._load_bitmap(found)

    async def _load_bitmap(self, layout: StoreLayout) -> None:
        for start in range(0, layout.bitmap_bytes, BITMAP_READ):
            length = min(BITMAP_READ, layout.bitmap_bytes - start)
            self._bitmap[start : start + length] = await self._read(
                layout.bitmap_at + start, length
            )
        self.held = int.from_bytes(self._bitmap, "little").bit_count()

    async def _read(self, place: int, length: int) -> Any:
        error, data = await io(self._store, messages.READ, place, length)
        if error:
            raise EngineError(error, f"the store of snapshot {self._store.lvolid} cannot be read")
        return data

    async def tell_broken(self) -> None:
        """Say in the store, if it can be reached, that it is no good to whoever attaches it."""
        await self._write_header(self._layout._replace(broken=True))

    async def _write_header(self, layout: StoreLayout) -> int:
        block = pack_store(layout)
        error: int
        error, _ = await io(self._store, messages.WRITE, 0, COW_CHUNK, block, messages.FUA)
        return error

    def is_reachable(self) -> bool:
        """Tell whether a replica of each of its mirrors is connected."""
        return is_reachable(self._store)

    def holds(self, chunk: int) -> bool:
        """Tell whether it has the chunk."""
        return bool(self._bitmap[chunk >> 3] >> (chunk & 7) & 1)

    def holds_all(self, first: int, last: int) -> bool:
        """Tell whether it has all these chunks."""
        return all(self.holds(chunk) for chunk in range(first, last + 1))

    def held_stretches(self, first: int, last: int) -> list[tuple[int, int]]:
        """List the stretches of chunks, each from and up to, that it has."""
        stretches: list[tuple[int, int]] = []
        for chunk in range(first, last + 1):
            if not self.holds(chunk):
                continue
            if stretches and stretches[-1][1] == chunk:
                stretches[-1] = (stretches[-1][0], chunk + 1)
            else:
                stretches.append((chunk, chunk + 1))
        return stretches

    def read(self, place: int, length: int) -> Future:
        """Read what the origin had there; of chunks that it has."""
        return io(self._store, messages.READ, self._layout.data_at + place, length)

    def runs_lacking(self, first: int, data: Any) -> Iterator[Run]:
        """Cut out of adjacent chunks those that it lacks."""
        count = len(data) // COW_CHUNK
        begun = None
        for place in range(count + 1):
            lacking = place < count and not self.holds(first + place)
            if lacking and begun is None:
                begun = place
            elif not lacking and begun is not None:
                yield first + begun, data[begun * COW_CHUNK : place * COW_CHUNK]
                begun = None

    async def keep(self, runs: Sequence[Run]) -> bool:
        """Add chunks: data durable, then bits durable. False if not; it may be tried again.

        A chunk whose bit could not be made durable counts as not kept.
        """
        written = [
            self._write(self._layout.data_at + first * COW_CHUNK, data)
            for first, data in runs
            if bytes(data) != bytes(len(data))  # a fresh store is zero already
        ]
        if not await _all_done(written):
            return False
        fresh = {
            chunk
            for first, data in runs
            for chunk in range(first, first + len(data) // COW_CHUNK)
            if not self.holds(chunk)
        }
        self._flip(fresh)
        blocks = {chunk // CHUNKS_PER_BLOCK for chunk in fresh}
        if await _all_done([self._write_block(block) for block in blocks]):
            self.held += len(fresh)
            return True
        self._flip(fresh)
        return False

    def _flip(self, chunks: Iterable[int]) -> None:
        for chunk in chunks:
            self._bitmap[chunk >> 3] ^= 1 << (chunk & 7)

    def _write_block(self, block: int) -> Future:
        place = block * BITMAP_BLOCK
        data = bytes(self._bitmap[place : place + BITMAP_BLOCK])
        return self._write(self._layout.bitmap_at + place, data)

    def _write(self, place: int, data: Any) -> Future:
        return io(self._store, messages.WRITE, place, len(data), data, messages.FUA)


def is_reachable(volume: Volume) -> bool:
    """Tell whether a good replica of each mirror is connected."""
    return all(
        any(replica.is_reachable() for replica in mirror.readers) for mirror in volume.mirrors
    )


async def _all_done(replies: Sequence[Future]) -> bool:
    errors = [(await reply)[0] for reply in replies]
    return not any(errors)
