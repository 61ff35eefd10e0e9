"""Before an origin's writes: each snapshot keeps a chunk before it is first overwritten."""

from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK
from agents.engines.userspace.snapshot.snapshot import Snapshot

PIECE_BYTES = 4 << 20
"""A long write's chunks are copied in pieces of at most this."""


class Snapshots:
    """The snapshots of one origin; stands before its writes while there are any."""

    def __init__(self, origin: Volume) -> None:
        self.present: list[Snapshot] = []
        self._origin = origin

    async def add(self, snapshot: Snapshot) -> None:
        """Freeze: what is acknowledged before is in the snapshot, what begins after is not."""
        taken = [
            (mirror, (await mirror.ranges.take(0, mirror.size))[1])
            for mirror in self._origin.mirrors
        ]
        self.present.append(snapshot)
        self._hook_writes()
        for mirror, whole in taken:
            mirror.ranges.release(whole)

    async def remove(self, snapshot: Snapshot) -> None:
        """Keep nothing for it any more; on return nothing is under way to its store."""
        self.present.remove(snapshot)
        self._hook_writes()
        for mirror in self._origin.mirrors:
            _, whole = await mirror.ranges.take(0, mirror.size)
            mirror.ranges.release(whole)

    def _hook_writes(self) -> None:
        for mirror in self._origin.mirrors:
            mirror.before_write = self._intercept if self.present else None

    def _intercept(
        self,
        mirror: LiveMirror,
        command: int,
        offset: int,
        length: int,
        data: Any,
        flags: int,
        done: messages.Done,
    ) -> bool:
        """Take over a write that would overwrite something not yet kept."""
        first = (mirror.base + offset) // COW_CHUNK
        last = (mirror.base + offset + length - 1) // COW_CHUNK
        if not any(snapshot.lacks_any(first, last) for snapshot in self.present):
            return False
        go = partial(mirror.write_now, command, offset, length, data, flags, done)
        LoopTask(self._keep_then(mirror, (first, last), go, done))
        return True

    async def _keep_then(
        self,
        mirror: LiveMirror,
        chunks: tuple[int, int],
        go: Callable[[], None],
        done: messages.Done,
    ) -> None:
        base = mirror.base
        start, end = chunks[0] * COW_CHUNK - base, (chunks[1] + 1) * COW_CHUNK - base
        _, taken = await mirror.ranges.take(start, end)
        error = 0
        for place in range(start, end, PIECE_BYTES):
            error = await self._keep(mirror, place, min(PIECE_BYTES, end - place))
            if error:
                break
        if error:
            done(error, None)
        else:
            go()
        mirror.ranges.release(taken)

    async def _keep(self, mirror: LiveMirror, start: int, length: int) -> int:
        first = (mirror.base + start) // COW_CHUNK
        last = first + length // COW_CHUNK - 1
        keepers = [one for one in self.present if one.lacks_any(first, last)]
        if not keepers:
            return 0
        read = Future()
        mirror.read(start, length, read)
        error, data = await read
        if error:
            return error
        view = memoryview(data)
        errors = [await kept for kept in [LoopTask(one.keep(first, view)) for one in keepers]]
        return next(filter(None, errors), 0)
