"""Copying chunks between the replicas of a mirror, a few pieces at a time, behind the clients."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.copy_throttle import PIECE, CopyThrottle
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import BUILDING, LiveReplica
from agents.engines.userspace.nbd import messages
from agents.ondisk import MIB

ZEROS = bytes(PIECE)
IN_FLIGHT = 2
STRETCH = 32
"""So many adjacent pieces are asked at once whether they hold data."""


class CopyStopped(Exception):
    """The copying cannot or need not go on."""


class MirrorResync:
    """Dirty chunks of a mirror: the first good replica is right, the others are made like it."""

    def __init__(self, mirror: LiveMirror) -> None:
        self.mirror = mirror

    def goes_on(self) -> bool:
        return True

    def targets(self) -> Sequence[LiveReplica]:
        return self.mirror.writers[1:]

    def is_settled_by(self, source: LiveReplica) -> bool:
        """Another replica became the first meanwhile: then this piece has to be done once more."""
        return self.mirror.readers[0] is source

    def copied(self, chunk: int, *, written: bool) -> None:
        self.mirror.regions.set_resynced(chunk, written=written)
        self.mirror.unsynced -= 1


class ReplicaBuild:
    """A replica being built."""

    def __init__(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        self.mirror = mirror
        self._replica = replica
        self._per_chunk = max(1, (1 << mirror.regions.shift) // MIB)

    def join(self) -> None:
        """From here on the replica receives every write; what is in flight now it still misses."""
        replica, mirror = self._replica, self.mirror
        if replica.missed is None:
            raise CopyStopped
        replica.state = BUILDING
        replica.missed.add(mirror.regions.as_missing())
        mirror.refresh()

    def chunks(self) -> list[int]:
        missed = self._replica.missed
        chunks = missed.listed() if missed is not None else []
        self._replica.done_mib = 0
        self._replica.total_mib = len(chunks) * self._per_chunk
        return chunks

    def goes_on(self) -> bool:
        return self._replica.state == BUILDING

    def targets(self) -> Sequence[LiveReplica]:
        return (self._replica,) if self._replica.state == BUILDING else ()

    def is_settled_by(self, _source: LiveReplica) -> bool:
        return True

    def copied(self, chunk: int, *, written: bool) -> None:
        replica, mirror = self._replica, self.mirror
        if replica.missed is not None and replica.state == BUILDING:
            replica.done_mib += self._per_chunk
            replica.missed.forget(chunk)
            if written:
                # Not yet durable: dirty until the next flush of all.
                mirror.regions.set_dirty(chunk << mirror.regions.shift, 1)


class Copier:
    """Copies what it is told, under range locks, so that it never races a client's write."""

    def __init__(self, throttle: CopyThrottle) -> None:
        self._throttle = throttle
        self.stopped = False

    async def copy(self, copying: MirrorResync | ReplicaBuild, chunks: list[int]) -> None:
        """Copy chunks, a few pieces at a time."""
        for stretch in _stretches(chunks, max(1, STRETCH * PIECE >> copying.mirror.regions.shift)):
            with_data = await self._look(copying, stretch)
            for chunk in stretch:
                if chunk not in with_data:
                    copying.copied(chunk, written=False)
            work = iter([chunk for chunk in stretch if chunk in with_data])
            count = 1 if self._throttle.clients_active else IN_FLIGHT
            workers = [LoopTask(self._copy_chunks(copying, work)) for _ in range(count)]
            stopped = [await worker for worker in workers]
            if any(stopped):
                raise CopyStopped

    async def _copy_chunks(self, copying: MirrorResync | ReplicaBuild, work: Iterator[int]) -> bool:
        mirror = copying.mirror
        shift = mirror.regions.shift
        for chunk in work:
            end = min(chunk + 1 << shift, mirror.size)
            for start in range(chunk << shift, end, PIECE):
                if self.stopped or not copying.goes_on():
                    return True
                began = time.monotonic()
                if not await self._copy_piece(copying, start, min(PIECE, end - start)):
                    return True
                await self._throttle.rest(began)
            copying.copied(chunk, written=True)
        return False

    async def _copy_piece(
        self, copying: MirrorResync | ReplicaBuild, start: int, length: int
    ) -> bool:
        mirror = copying.mirror
        _, taken = await mirror.ranges.take(start, start + length)
        try:
            while True:
                source = mirror.readers[0]
                read = Future()
                mirror.read(start, length, read)
                error, data = await read
                if error:
                    return False
                targets = copying.targets()
                landed = await _write_all(mirror, targets, start, data)
                if landed and copying.is_settled_by(source):
                    return True
        finally:
            mirror.ranges.release(taken)

    async def _look(self, copying: MirrorResync | ReplicaBuild, stretch: list[int]) -> set[int]:
        """Tell which chunks hold data on the source or on a target; the others are equal: zero."""
        mirror = copying.mirror
        shift = mirror.regions.shift
        start, end = stretch[0] << shift, min(stretch[-1] + 1 << shift, mirror.size)
        _, taken = await mirror.ranges.take(start, end)
        try:
            asked = [
                io(replica, messages.BLOCK_STATUS, start, end - start)
                for replica in (*mirror.readers, *copying.targets())
            ]
            found: set[int] = set()
            for reply in asked:
                error, extents = await reply
                found |= _chunks_with_data([] if error else extents, start, end, shift)
            return found
        finally:
            mirror.ranges.release(taken)


async def _write_all(
    mirror: LiveMirror, targets: Sequence[LiveReplica], start: int, data: Any
) -> bool:
    """Write to all; False if it is to be done again, for it is not known who has it."""
    length = len(data)
    if data == (ZEROS if length == PIECE else bytes(length)):
        asked = [
            (replica, io(replica, messages.WRITE_ZEROES, start, length)) for replica in targets
        ]
    else:
        asked = [(replica, io(replica, messages.WRITE, start, length, data)) for replica in targets]
    landed = True
    for replica, reply in asked:
        error, _ = await reply
        if error:
            landed = not mirror.is_undecided(replica, error) and landed
    return landed


def _stretches(chunks: list[int], longest: int) -> Iterator[list[int]]:
    """Group adjacent chunks."""
    stretch: list[int] = []
    for chunk in chunks:
        if stretch and (chunk != stretch[-1] + 1 or len(stretch) == longest):
            yield stretch
            stretch = []
        stretch.append(chunk)
    if stretch:
        yield stretch


def _chunks_with_data(extents: list[tuple[int, int]], start: int, end: int, shift: int) -> set[int]:
    """List the chunks that may hold something else than zeros; what was not told of may."""
    found: set[int] = set()
    place = start
    for length, state in [*extents, (end, 0)]:
        stop = min(place + length, end)
        if not state & messages.ZERO and stop > place:
            found.update(range(place >> shift, (stop - 1 >> shift) + 1))
        place = stop
    return found
