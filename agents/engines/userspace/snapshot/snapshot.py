"""A snapshot: what its store holds of the origin's former content, and reading the whole.

Its store may be out of reach when its group is brought up, while the origin serves on. Nobody knows
then what it holds: it cannot be read, and each write to the origin may be one that it lacks. Such
writes wait for the store, but not for ever: then the snapshot is broken.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Any

from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
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


class NotItsStore(EngineError):
    """The store was read, and is not this snapshot's: no other try will find it so."""


class Snapshot:
    """The read-only device of one snapshot; broken once its store lacks what it should have kept.

    The owner's `save` records that. `later` calls when the origin has waited for long enough.
    """

    flags = (
        messages.HAS_FLAGS | messages.READ_ONLY | messages.SENDS_FLUSH | messages.MULTI_CONNECTION
    )

    def __init__(
        self,
        lvolid: int,
        origin: Volume,
        owner: MirrorOwner,
        later: Callable[[Callable[[], None]], None],
        *,
        broken: bool,
    ) -> None:
        self.lvolid = lvolid
        self.size = origin.size
        self.broken = broken
        self.held = 0
        self._recorded = broken
        self._store: Volume | None = None
        self._origin = origin
        self._owner = owner
        self._later = later
        self._layout = store_layout(origin.size)
        self._bitmap = bytearray(self._layout.bitmap_bytes)
        self._missing_it: list[Future] = []
        self._waiting: list[tuple[list[Run], Future]] = []
        self._committing = False

    # -- the store

    async def load(self, store: Volume, *, fresh: bool) -> None:
        """Read what the store holds; make one of a store that is all zero, if it may be `fresh`."""
        if self._layout.data_at + self.size > store.size:
            raise NotItsStore(errno.EINVAL, f"the store of snapshot {self.lvolid} is too small")
        header = await self._read_store(store, 0, COW_CHUNK)
        if fresh and not any(header):
            if await self._write_header(store, self._layout):
                raise EngineError(
                    errno.EIO, f"the store of snapshot {self.lvolid} cannot be written"
                )
            return
        found = unpack_store(header)
        if found is None or found._replace(broken=False) != self._layout:
            raise NotItsStore(
                errno.EINVAL, f"the store of snapshot {self.lvolid} holds something else"
            )
        self.broken = self.broken or found.broken
        await self._load_bitmap(store, found)

    def use(self, store: Volume) -> None:
        """Keep chunks in the store that was loaded: who waited for it goes on."""
        self._store = store
        self._end_waiting()
        if self.broken:
            LoopTask(self._tell_store(store))

    def break_for_good(self, why: str) -> None:
        """It lost its meaning; that is recorded before the origin is written again."""
        self._owner.log(f"snapshot {self.lvolid} is broken: {why}")
        self.broken = True
        self._end_waiting()
        if self._store is not None:
            LoopTask(self._tell_store(self._store))

    async def _tell_store(self, store: Volume) -> None:
        """Say so in the store too, if it can be reached, to whoever may attach it elsewhere."""
        await self._write_header(store, self._layout._replace(broken=True))

    async def _write_header(self, store: Volume, layout: StoreLayout) -> int:
        error: int
        error, _ = await io(store, messages.WRITE, 0, COW_CHUNK, pack_store(layout), messages.FUA)
        return error

    async def _await_store(self) -> None:
        """Wait until there is a store, or this is broken: at the latest when the time is over."""
        if self._store is None and not self.broken:
            if not self._missing_it:
                self._later(self._give_store_up)
            here = Future()
            self._missing_it.append(here)
            await here

    def _give_store_up(self) -> None:
        if self._store is None and not self.broken:
            self.break_for_good("its store is out of reach, and its origin is written")

    def _end_waiting(self) -> None:
        waited, self._missing_it = self._missing_it, []
        for here in waited:
            here()

    async def _load_bitmap(self, store: Volume, layout: StoreLayout) -> None:
        for start in range(0, layout.bitmap_bytes, BITMAP_READ):
            length = min(BITMAP_READ, layout.bitmap_bytes - start)
            self._bitmap[start : start + length] = await self._read_store(
                store, layout.bitmap_at + start, length
            )
        self.held = int.from_bytes(self._bitmap, "little").bit_count()

    async def _read_store(self, store: Volume, place: int, length: int) -> Any:
        error, data = await io(store, messages.READ, place, length)
        if error:
            raise EngineError(error, f"the store of snapshot {self.lvolid} cannot be read")
        return data

    def holds(self, chunk: int) -> bool:
        """Tell whether the store has the chunk."""
        return bool(self._bitmap[chunk >> 3] >> (chunk & 7) & 1)

    def lacks_any(self, first: int, last: int) -> bool:
        """Tell whether these cannot be overwritten yet: one is to be kept, or the end recorded.

        Of a store that nobody has read it is not known what it holds.
        """
        if self._recorded:
            return False
        known = self._store is not None and not self.broken
        return not known or not all(self.holds(chunk) for chunk in range(first, last + 1))

    # -- keeping chunks

    async def keep(self, first: int, data: Any) -> int:
        """Keep those of the adjacent chunks from `first` that the store lacks, durably.

        A store that cannot do it any more breaks the snapshot, never the origin's write. The errno
        tells that not even that could be recorded: what is written then would be read as old.
        """
        await self._await_store()
        runs = [] if self.broken else _runs_lacking(self, first, data)
        if runs:
            kept = Future()
            self._waiting.append((runs, kept))
            if not self._committing:
                self._committing = True
                LoopTask(self._commit())
            await kept
        return await self._record_end() if self.broken else 0

    async def _record_end(self) -> int:
        error = 0
        if not self._recorded:
            error, _ = await self._owner.save()
            if not error:
                self._recorded = True
        return errno.EIO if error else 0

    async def _commit(self) -> None:
        """Serve all who wait with one round: data durable, then bits durable, then their writes."""
        while self._waiting:
            served, self._waiting = self._waiting, []
            runs = [run for some, _ in served for run in some]
            store = self._store
            if store is not None and not self.broken and not await self._commit_runs(store, runs):
                self.break_for_good("its store cannot keep what its origin overwrites")
            for _, kept in served:
                kept()
        self._committing = False

    async def _commit_runs(self, store: Volume, runs: list[Run]) -> bool:
        layout = self._layout
        written = [
            io(
                store,
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
        blocks: set[int] = set()
        for first, data in runs:
            for chunk in range(first, first + len(data) // COW_CHUNK):
                self.held += not self.holds(chunk)
                self._bitmap[chunk >> 3] |= 1 << (chunk & 7)
                blocks.add(chunk // CHUNKS_PER_BLOCK)
        return await _all_done([self._write_block(store, block) for block in blocks])

    def _write_block(self, store: Volume, block: int) -> Future:
        place = block * BITMAP_BLOCK
        data = bytes(self._bitmap[place : place + BITMAP_BLOCK])
        return io(
            store,
            messages.WRITE,
            self._layout.bitmap_at + place,
            BITMAP_BLOCK,
            data,
            messages.FUA,
        )

    # -- reading

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Serve a request of a client."""
        del data, flags  # of writes only
        store = self._store
        if self.broken or store is None:
            done(errno.EIO, None)
        elif command == messages.FLUSH:
            done(0, None)
        elif command == messages.BLOCK_STATUS:
            done(0, [(length, 0)])
        elif command == messages.READ:
            LoopTask(self._read(store, offset, length, done))
        else:
            done(errno.EPERM, None)

    async def _read(self, store: Volume, offset: int, length: int, done: messages.Done) -> None:
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
            asked.append((place, io(store, messages.READ, at, until - place)))
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
