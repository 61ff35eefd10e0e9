"""A snapshot: what its store keeps of the origin's former content, and reading the whole.

Its store may be out of reach: from the moment when its group is brought up, so that nobody knows
what it holds and each write to the origin may be one that it lacks, or later. Writes that need it
wait for it, but not for ever: then the snapshot is broken.
"""

import errno
import time
from typing import Any

from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK
from agents.engines.userspace.snapshot.kept_chunks import KeptChunks, is_reachable


class Snapshot:
    """The read-only device of one snapshot; broken once its store lacks what it should have kept.

    The owner's `save` records that. `timeout`: for so many seconds the origin waits for the store.
    """

    flags = (
        messages.HAS_FLAGS | messages.READ_ONLY | messages.SENDS_FLUSH | messages.MULTI_CONNECTION
    )

    def __init__(
        self, lvolid: int, origin: Volume, owner: MirrorOwner, timeout: float, *, broken: bool
    ) -> None:
        self.lvolid = lvolid
        self.size = origin.size
        self.broken = broken
        self._recorded = broken
        self._store: KeptChunks | None = None
        self._origin = origin
        self._owner = owner
        self._timeout = timeout
        self._waiting: list[tuple[int, Any, Future]] = []
        self._served: list[tuple[int, Any, Future]] = []
        self._committing = False
        self._stopped = False
        self._since = 0.0
        self._tried_again = Future()

    @property
    def held(self) -> int:
        """Count the chunks in the store, as far as that is known."""
        return self._store.held if self._store is not None else 0

    # -- the store, and the end

    def use(self, store: KeptChunks) -> None:
        """Keep chunks in this store from now on: who waited for it goes on."""
        self._store = store
        self.broken = self.broken or store.broken
        self._tried_again()
        if self.broken:
            LoopTask(store.tell_broken())

    def check(self, now: float) -> None:
        """Give up a store that was waited for too long; else let it be tried again.

        Without its origin nothing waits for the store alone, and one that is slow is not lost.
        """
        away = self._store is None or not self._store.is_reachable()
        if not self._committing or not away or not is_reachable(self._origin):
            self._since = now
        elif now - self._since > self._timeout and not self.broken:
            self.break_for_good("its store is out of reach, and its origin is written")
        self._tried_again()

    def break_for_good(self, why: str) -> None:
        """It lost its meaning; that is recorded before the origin is written again."""
        self._owner.log(f"snapshot {self.lvolid} is broken: {why}")
        self.broken = True
        if self._store is not None:
            LoopTask(self._store.tell_broken())
        self._end_waiting()

    def stop(self) -> None:
        """Its group is taken down: no write that waits for the store is done any more."""
        self._stopped = True
        self._end_waiting()

    def _end_waiting(self) -> None:
        self._tried_again()
        self._waiting, self._served = [], self._served + self._waiting
        self._release()

    # -- keeping chunks

    def lacks_any(self, first: int, last: int) -> bool:
        """Tell whether these cannot be overwritten yet: one is to be kept, or the end recorded."""
        if self._recorded:
            return False
        return self.broken or self._store is None or not self._store.holds_all(first, last)

    async def keep(self, first: int, data: Any) -> int:
        """Keep those of the adjacent chunks from `first` that the store lacks, durably.

        A store that cannot do it any more breaks the snapshot, never the origin's write. An errno
        tells that not even that could be recorded, or that there is no time for it: what is written
        then would be read as old. Or that the origin could not take the write either: that breaks
        nothing.
        """
        if not self._is_over:
            kept = Future()
            self._waiting.append((first, data, kept))
            if not self._committing:
                self._committing = True
                LoopTask(self._commit())
            given_up, _ = await kept
            if given_up:
                return errno.EIO
        if self._stopped:
            return errno.EIO
        return await self._record_end() if self.broken else 0

    async def _record_end(self) -> int:
        error = 0
        if not self._recorded:
            error, _ = await self._owner.save()
            if not error:
                self._recorded = True
        return errno.EIO if error else 0

    @property
    def _is_over(self) -> bool:
        return self.broken or self._stopped

    async def _commit(self) -> None:
        """Serve all who wait with one round: what they overwrite is kept, then they go on."""
        while self._waiting and not self._is_over:
            self._since = time.monotonic()
            self._served, self._waiting = self._waiting, []
            given_up = await self._serve()
            self._release(errno.EIO if given_up else 0)
        self._committing = False

    async def _serve(self) -> bool:
        """Keep what is to be overwritten; tells whether that was given up, as the origin's is."""
        while self._store is None and not self._is_over:
            if self._is_origin_lost():
                return True
            await self._try_again()
        store = self._store
        if store is None:
            return False
        runs = [run for first, data, _ in self._served for run in store.runs_lacking(first, data)]
        while not self._is_over and not await store.keep(runs):
            if store.is_reachable():
                self.break_for_good("its store cannot keep what its origin overwrites")
            elif self._is_origin_lost():
                return True
            elif not self._is_over:
                await self._try_again()
        return False

    def _is_origin_lost(self) -> bool:
        return any(mirror.outage.is_over for mirror in self._origin.mirrors)

    async def _try_again(self) -> None:
        self._tried_again = Future()
        await self._tried_again

    def _release(self, error: int = 0) -> None:
        served, self._served = self._served, []
        for _, _, kept in served:
            kept(error)

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

    async def _read(self, store: KeptChunks, offset: int, length: int, done: messages.Done) -> None:
        """Read the origin first and look only then what the store holds.

        The bit of a chunk is set before its first overwriting begins: what is still unset after the
        origin was read, was read unchanged.
        """
        end = offset + length
        first, last = offset // COW_CHUNK, (end - 1) // COW_CHUNK
        data: Any = bytearray(length)
        if not store.holds_all(first, last):
            error, data = await io(self._origin, messages.READ, offset, length)
            if error:
                done(error, None)
                return
        asked = []
        for start, stop in store.held_stretches(first, last):
            place, until = max(start * COW_CHUNK, offset), min(stop * COW_CHUNK, end)
            asked.append((place, store.read(place, until - place)))
        view = memoryview(data)
        worst = 0
        for place, reply in asked:
            error, piece = await reply
            worst = worst or error
            if not error:
                view[place - offset : place - offset + len(piece)] = piece
        done(errno.EIO if worst or self.broken else 0, None if worst else data)
