"""Making replicas equal: the queue of replicas to build and of mirrors to resync."""

import errno
from collections.abc import Callable
from functools import partial

from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.connections import Connections
from agents.engines.userspace.mirror.copier import (
    Copier,
    CopyStopped,
    MirrorResync,
    ReplicaBuild,
)
from agents.engines.userspace.mirror.copy_throttle import CopyThrottle
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import (
    BUILDING,
    FAULTY,
    INSYNC,
    QUEUED,
    LiveReplica,
)
from agents.engines.userspace.nbd import messages
from agents.ondisk import MARK_BYTES, Mark, pack_mark, unpack_mark
from agents.protocol import Reason


class ResyncQueue:
    """The copying of one group, a mirror at a time: replicas to build, then unsynced mirrors."""

    def __init__(
        self, throttle: CopyThrottle, connections: Connections, save: Callable[[], Future]
    ) -> None:
        self._throttle = throttle
        self._connections = connections
        self._save = save
        self._wanted: list[tuple[LiveMirror, LiveReplica]] = []
        self._to_resync: list[LiveMirror] = []
        self._task: LoopTask | None = None
        self._copier = Copier(throttle)

    def build(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        """Queue a replica to be brought into sync."""
        replica.state, replica.reason = QUEUED, Reason.NONE
        mirror.refresh()
        self._wanted.append((mirror, replica))
        self._start()

    def resolve(self, mirror: LiveMirror) -> None:
        """Queue a mirror whose replicas may differ."""
        if mirror not in self._to_resync:
            self._to_resync.append(mirror)
            self._start()

    def cancel(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        """Stop or forget the building of a replica; it is left faulty."""
        self._wanted = [item for item in self._wanted if item[1] is not replica]
        if replica.state == QUEUED:
            replica.state, replica.reason = FAULTY, Reason.ASKED
            mirror.refresh()
            replica.drop()
            self._save()
        elif replica.state == BUILDING:
            mirror.fail(replica, Reason.ASKED)

    async def stop(self) -> None:
        """Begin nothing more and wait for what is under way."""
        self._copier.stopped = True
        if self._task is not None:
            await self._task

    def _start(self) -> None:
        if self._task is None and not self._copier.stopped:
            # Not at once: whoever queues has to finish its own change of state first.
            self._task = LoopTask(self._work())

    async def _work(self) -> None:
        await self._throttle.sleep(0)
        while (self._wanted or self._to_resync) and not self._copier.stopped:
            if self._wanted:
                mirror, replica = self._wanted.pop(0)
                await self._resolve(mirror)
                await self._build(mirror, replica)
            else:
                await self._resolve(self._to_resync[0])
                self._to_resync.pop(0)
        self._task = None

    # -- dirty chunks

    async def _resolve(self, mirror: LiveMirror) -> None:
        if not mirror.unsynced or mirror.waiting:
            return
        if len(mirror.writers) == 1:
            mirror.mark_in_sync()
            return
        copying = MirrorResync(mirror)
        try:
            await self._copier.copy(copying, mirror.regions.to_resync())
        except CopyStopped:
            return

    # -- a replica

    async def _build(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        if replica.state != QUEUED:
            return
        if mirror.outage.began:
            error = errno.EHOSTUNREACH  # there is nothing to copy from
        else:
            error, _ = await self._connections.connect(
                replica, mirror.size, partial(mirror.lost, replica)
            )
        if not error:
            await self._recognise(mirror, replica)
        if replica.state != QUEUED:
            replica.drop()
            return
        if error:
            replica.state, replica.reason = FAULTY, Reason.CONNECTION
            mirror.refresh()
            await self._save()
            return
        copying = ReplicaBuild(mirror, replica)
        copying.join()
        await self._save()
        try:
            await self._copier.copy(copying, copying.chunks())
            await self._finish(mirror, replica)
        except CopyStopped:
            mirror.fail(replica, Reason.ASKED if self._copier.stopped else Reason.IO)
        await self._save()

    async def _recognise(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        """What came back may be an older image of it: then it lacks more than it missed."""
        error, block = await io(replica, messages.READ, mirror.size, MARK_BYTES)
        if not error and replica.missed is not None and unpack_mark(block).events < replica.events:
            replica.missed.add_all()

    async def _finish(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        error, _ = await io(replica, messages.FLUSH, 0, 0)
        marked = -1
        while not error and replica.state == BUILDING and marked != mirror.events:
            await mirror.settlement.settled()
            marked = mirror.events
            block = pack_mark(Mark(mirror.epoch, marked, clean=False))
            error, _ = await io(
                replica, messages.WRITE, mirror.size, MARK_BYTES, block, messages.FUA
            )
            if mirror.settlement.under_way:
                marked = -1
        if error or replica.state != BUILDING:
            raise CopyStopped
        replica.state, replica.reason, replica.events = INSYNC, Reason.NONE, marked
        if replica.missed is not None:
            replica.missed.remove()
            replica.missed = None
        mirror.refresh()
        self._drop_replaced(mirror, replica)

    def _drop_replaced(self, mirror: LiveMirror, replica: LiveReplica) -> None:
        old = mirror.find(replica.replaces) if replica.replaces else None
        replica.replaces = 0
        if old is None or old is replica:
            return
        was_good = old.state == INSYNC
        mirror.replicas.remove(old)
        mirror.refresh()
        if old.missed is not None:
            old.missed.remove()
        old.state = FAULTY
        if was_good:
            mirror.settlement.begin()
        old.drop()
