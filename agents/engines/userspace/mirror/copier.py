"""Copying chunks between the replicas of a mirror, a few pieces at a time, behind the clients."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.tasks import Later, Task, io
from agents.engines.userspace.mirror.mirror import Mirror
from agents.engines.userspace.mirror.replica import BUILDING, IO, Replica
from agents.engines.userspace.nbd import protocol
from agents.ondisk import MIB

PIECE = MIB
ZEROS = bytes(PIECE)
IN_FLIGHT = 2
STRETCH = 32
"""So many adjacent pieces are asked at once whether they hold data."""
CLIENT_SHARE = 4
"""While clients are active, a copier rests this many times as long as it worked."""


class CopyStopped(Exception):
    """The copying cannot or need not go on."""


class Throttle:
    """Bounds the rate of all copying of a group, and gives clients the right of way."""

    def __init__(
        self, reactor: Reactor, mib_per_s: int, client_requests: Callable[[], int]
    ) -> None:
        self._reactor = reactor
        self._mib_per_s = mib_per_s
        self._client_requests = client_requests
        self._seen = 0
        self._next = 0.0
        self.clients_active = False

    async def rest(self, began: float) -> None:
        """Pause after a piece whose copying began then."""
        now = time.monotonic()
        pause = 0.0
        requests = self._client_requests()
        self.clients_active = requests != self._seen
        self._seen = requests
        if self.clients_active:
            pause = CLIENT_SHARE * (now - began)
        if self._mib_per_s:
            self._next = max(self._next, now) + PIECE / MIB / self._mib_per_s
            pause = max(pause, self._next - now)
        if pause > 0:
            await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Let others work."""
        woken = Later()
        self._reactor.after(seconds, woken)
        await woken


class Doubt:
    """Chunks that may differ: the first good replica is right, the others are made like it."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror

    def goes_on(self) -> bool:
        return True

    def targets(self) -> Sequence[Replica]:
        return self.mirror.writers[1:]

    def is_settled_by(self, source: Replica) -> bool:
        """Another replica became the first meanwhile: then this piece has to be done once more."""
        return self.mirror.readers[0] is source

    def copied(self, chunk: int, *, written: bool) -> None:
        self.mirror.intent.trust(chunk, written=written)
        self.mirror.doubts -= 1


class Build:
    """A replica being built."""

    def __init__(self, mirror: Mirror, replica: Replica) -> None:
        self.mirror = mirror
        self._replica = replica
        self._per_chunk = max(1, (1 << mirror.intent.shift) // MIB)

    def join(self) -> None:
        """From here on the replica receives every write; what is in flight now it still misses."""
        replica, mirror = self._replica, self.mirror
        if replica.missed is None:
            raise CopyStopped
        replica.state = BUILDING
        replica.missed.add(mirror.intent.unsafe())
        mirror.refresh()

    def chunks(self) -> list[int]:
        missed = self._replica.missed
        chunks = missed.listed() if missed is not None else []
        self._replica.done_mib = 0
        self._replica.total_mib = len(chunks) * self._per_chunk
        return chunks

    def goes_on(self) -> bool:
        return self._replica.state == BUILDING

    def targets(self) -> Sequence[Replica]:
        return (self._replica,) if self._replica.state == BUILDING else ()

    def is_settled_by(self, _source: Replica) -> bool:
        return True

    def copied(self, chunk: int, *, written: bool) -> None:
        replica, mirror = self._replica, self.mirror
        if replica.missed is not None and replica.state == BUILDING:
            replica.done_mib += self._per_chunk
            replica.missed.forget(chunk)
            if written:
                # Not yet durable: the intent map keeps it in mind until the next flush of all.
                mirror.intent.touch(chunk << mirror.intent.shift, 1)


class Copier:
    """Copies what it is told, under range locks, so that it never races a client's write."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self.stopped = False

    async def copy(self, copying: Doubt | Build, chunks: list[int]) -> None:
        """Copy chunks, a few pieces at a time."""
        for stretch in _stretches(chunks, max(1, STRETCH * PIECE >> copying.mirror.intent.shift)):
            with_data = await self._look(copying, stretch)
            for chunk in stretch:
                if chunk not in with_data:
                    copying.copied(chunk, written=False)
            work = iter([chunk for chunk in stretch if chunk in with_data])
            count = 1 if self._throttle.clients_active else IN_FLIGHT
            workers = [Task(self._copy_chunks(copying, work)) for _ in range(count)]
            stopped = [await worker for worker in workers]
            if any(stopped):
                raise CopyStopped

    async def _copy_chunks(self, copying: Doubt | Build, work: Iterator[int]) -> bool:
        mirror = copying.mirror
        shift = mirror.intent.shift
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

    async def _copy_piece(self, copying: Doubt | Build, start: int, length: int) -> bool:
        mirror = copying.mirror
        _, taken = await mirror.ranges.take(start, start + length)
        try:
            while True:
                source = mirror.readers[0]
                read = Later()
                mirror.read(start, length, read)
                error, data = await read
                if error:
                    return False
                targets = copying.targets()
                await _write_all(mirror, targets, start, data)
                if copying.is_settled_by(source):
                    return True
        finally:
            mirror.ranges.release(taken)

    async def _look(self, copying: Doubt | Build, stretch: list[int]) -> set[int]:
        """Tell which chunks hold data on the source or on a target; the others are equal: zero."""
        mirror = copying.mirror
        shift = mirror.intent.shift
        start, end = stretch[0] << shift, min(stretch[-1] + 1 << shift, mirror.size)
        _, taken = await mirror.ranges.take(start, end)
        try:
            asked = [
                io(replica, protocol.BLOCK_STATUS, start, end - start)
                for replica in (*mirror.readers, *copying.targets())
            ]
            found: set[int] = set()
            for reply in asked:
                error, extents = await reply
                found |= _chunks_with_data([] if error else extents, start, end, shift)
            return found
        finally:
            mirror.ranges.release(taken)


async def _write_all(mirror: Mirror, targets: Sequence[Replica], start: int, data: Any) -> None:
    length = len(data)
    if data == (ZEROS if length == PIECE else bytes(length)):
        asked = [
            (replica, io(replica, protocol.WRITE_ZEROES, start, length)) for replica in targets
        ]
    else:
        asked = [(replica, io(replica, protocol.WRITE, start, length, data)) for replica in targets]
    for replica, reply in asked:
        error, _ = await reply
        if error:
            mirror.fail(replica, IO)


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
        if not state & protocol.ZERO and stop > place:
            found.update(range(place >> shift, (stop - 1 >> shift) + 1))
        place = stop
    return found
