"""A snapshot: what its store holds of the origin's former content, and reading the whole."""

import errno
from collections.abc import Callable, Sequence
from typing import Any

from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import (
    BITMAP_BLOCK,
    COW_CHUNK,
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


class Snapshot:
    """The read-only device of one snapshot."""

    flags = (
        messages.HAS_FLAGS | messages.READ_ONLY | messages.SENDS_FLUSH | messages.MULTI_CONNECTION
    )

    def __init__(
        self, origin: Volume, store: Volume, report: Callable[[], Future], *, broken: bool
    ) -> None:
        self.lvolid = store.lvolid
        self.size = origin.size
        self.store = store
        self.broken = broken
        self.held = 0
        self._origin = origin
        self._report = report
        self._layout = store_layout(origin.size)
        self._bitmap = bytearray(self._layout.bitmap_bytes)
        self._waiting: list[tuple[list[Run], Future]] = []
        self._committing = False

    async def open(self) -> None:
        """Read what the store holds, or make a fresh one of a store that is all zero."""
        if self._layout.data_at + self.size > self.store.size:
            raise EngineError(errno.EINVAL, f"the store of snapshot {self.lvolid} is too small")
        header = await self._read_store(0, COW_CHUNK)
        if not any(header):
            error, _ = await io(
                self.store, messages.WRITE, 0, COW_CHUNK, pack_store(self._layout), messages.FUA
            )
            if error:
                raise EngineError(error, f"the store of snapshot {self.lvolid} cannot be written")
            return
        found = unpack_store(header)
        if found is None or found._replace(broken=False) != self._layout:
            raise EngineError(
                errno.EINVAL, f"the store of snapshot {self.lvolid} holds something else"
            )
        self.broken = self.broken or found.broken
        await self._load_bitmap(found)

    async def _load_bitmap(self, layout: StoreLayout) -> None:
        for start in range(0, layout.bitmap_bytes, BITMAP_READ):
            length = min(BITMAP_READ, layout.bitmap_bytes - start)
            self._bitmap[start : start + length] = await self._read_store(
                layout.bitmap_at + start, length
            )
        self.held = int.from_bytes(self._bitmap, "little").bit_count()

    async def _read_store(self, place: int, length: int) -> Any:
        error, data = await io(self.store, messages.READ, place, length)
        if error:
            raise EngineError(error, f"the store of snapshot {self.lvolid} cannot be read")
        return data

    def holds(self, chunk: int) -> bool:
        """Tell whether the store has the chunk."""
        return bool(self._bitmap[chunk >> 3] >> (chunk & 7) & 1)

    def lacks_any(self, first: int, last: int) -> bool:
        """Tell whether a chunk of these has to be kept before it is overwritten."""
        return not self.broken and not all(self.holds(chunk) for chunk in range(first, last + 1))

    # -- keeping chunks

    async def keep(self, first: int, data: Any) -> int:
        """Keep those of the adjacent chunks from `first` that the store lacks, durably.

        A store that cannot do it any more breaks the snapshot, never the origin's write; but the
        write is given up, and nothing broken, while the origin could not take it either.
        """
        runs = _runs_lacking(self, first, data)
        if self.broken or not runs:
            return 0
        kept = Future()
        self._waiting.append((runs, kept))
        if not self._committing:
            self._committing = True
            LoopTask(self._commit())
        return (await kept)[0]

    async def _commit(self) -> None:
        """Serve all who wait with one round: data durable, then bits durable, then their writes."""
        while self._waiting:
            served, self._waiting = self._waiting, []
            runs = [run for some, _ in served for run in some]
            error = 0
            if not self.broken and not await self._commit_runs(runs):
                if any(mirror.waiting for mirror in self._origin.mirrors):
                    error = errno.EIO
                else:
                    await self._break()
            for _, kept in served:
                kept(error)
        self._committing = False

    async def _commit_runs(self, runs: list[Run]) -> bool:
        layout = self._layout
        written = [
            io(
                self.store,
                messages.WRITE,
                layout.data_at + first * COW_CHUNK,
                len(data),
                data,
                messages.FUA,
            )
            for first, data in runs
            if bytes(data) != bytes(len(data))  # a fresh store is zero already
        ]
        if not await _all_done(written):
            return False
        fresh = [
            chunk
            for first, data in runs
            for chunk in range(first, first + len(data) // COW_CHUNK)
            if not self.holds(chunk)
        ]
        self._flip(fresh)
        blocks = {chunk // CHUNKS_PER_BLOCK for chunk in fresh}
        if await _all_done([self._write_block(block) for block in blocks]):
            self.held += len(fresh)
            return True
        self._flip(fresh)  # not durable: whoever writes there has to keep them anew
        return False

    def _flip(self, chunks: list[int]) -> None:
        for chunk in chunks:
            self._bitmap[chunk >> 3] ^= 1 << (chunk & 7)

    def _write_block(self, block: int) -> Future:
        place = block * BITMAP_BLOCK
        data = bytes(self._bitmap[place : place + BITMAP_BLOCK])
        return io(
            self.store,
            messages.WRITE,
            self._layout.bitmap_at + place,
            BITMAP_BLOCK,
            data,
            messages.FUA,
        )

    async def _break(self) -> None:
        """The snapshot lost its meaning: say so here and, if it can be reached, in the store."""
        self.broken = True
        await self._report()
        header = pack_store(self._layout._replace(broken=True))
        await io(self.store, messages.WRITE, 0, COW_CHUNK, header, messages.FUA)

    # -- reading

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Serve a request of a client."""
        del data, flags  # of writes only
        if self.broken:
            done(errno.EIO, None)
        elif command == messages.FLUSH:
            done(0, None)
        elif command == messages.BLOCK_STATUS:
            done(0, [(length, 0)])
        elif command == messages.READ:
            LoopTask(self._read(offset, length, done))
        else:
            done(errno.EPERM, None)

    async def _read(self, offset: int, length: int, done: messages.Done) -> None:
        """Read the origin first and look only then what the store holds.

        The bit of a chunk is set before its first overwriting begins: what is still unset after the
        origin was read, was read unchanged.
        """
        end = offset + length
        first, last = offset // COW_CHUNK, (end - 1) // COW_CHUNK
        data: Any = bytearray(length)
        if not all(self.holds(chunk) for chunk in range(first, last + 1)):
            error, data = await io(self._origin, messages.READ, offset, length)
            if error:
                done(error, None)
                return
        asked = []
        for start, stop in _held_stretches(self, first, last):
            place, until = max(start * COW_CHUNK, offset), min(stop * COW_CHUNK, end)
            at = self._layout.data_at + place
            asked.append((place, io(self.store, messages.READ, at, until - place)))
        view = memoryview(data)
        worst = 0
        for place, reply in asked:
            error, piece = await reply
            worst = worst or error
            if not error:
                view[place - offset : place - offset + len(piece)] = piece
        done(errno.EIO if worst or self.broken else 0, None if worst else data)


async def _all_done(replies: Sequence[Future]) -> bool:
    errors = [(await reply)[0] for reply in replies]
    return not any(errors)


def _runs_lacking(snapshot: Snapshot, first: int, data: Any) -> list[Run]:
    """Cut out the adjacent chunks that the snapshot's store lacks."""
    runs: list[Run] = []
    count = len(data) // COW_CHUNK
    begun = None
    for place in range(count + 1):
        lacking = place < count and not snapshot.holds(first + place)
        if lacking and begun is None:
            begun = place
        elif not lacking and begun is not None:
            piece = data[begun * COW_CHUNK : place * COW_CHUNK]
            runs.append((first + begun, piece))
            begun = None
    return runs


def _held_stretches(snapshot: Snapshot, first: int, last: int) -> list[tuple[int, int]]:
    """List the stretches of chunks, each from and up to, that the store has."""
    stretches: list[tuple[int, int]] = []
    for chunk in range(first, last + 1):
        if not snapshot.holds(chunk):
            continue
        if stretches and stretches[-1][1] == chunk:
            stretches[-1] = (stretches[-1][0], chunk + 1)
        else:
            stretches.append((chunk, chunk + 1))
    return stretches
