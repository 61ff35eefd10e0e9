"""Making replicas equal: the queue of replicas to build and of mirrors in doubt."""

from collections.abc import Callable
from functools import partial

from agents.engines.userspace.loop.tasks import Later, Task, io
from agents.engines.userspace.mirror.connections import Connections
from agents.engines.userspace.mirror.copier import Build, Copier, CopyStopped, Doubt, Throttle
from agents.engines.userspace.mirror.mirror import Mirror
from agents.engines.userspace.mirror.replica import (
    ASKED,
    BUILDING,
    CONNECTION,
    FAULTY,
    INSYNC,
    IO,
    QUEUED,
    Replica,
)
from agents.engines.userspace.nbd import protocol
from agents.ondisk import MARK_BYTES, Mark, pack_mark, unpack_mark


class Rebuilds:
    """The work of one group, one mirror at a time: replicas to build first, then doubts."""

    def __init__(
        self, throttle: Throttle, connections: Connections, save: Callable[[], Later]
    ) -> None:
        self._throttle = throttle
        self._connections = connections
        self._save = save
        self._wanted: list[tuple[Mirror, Replica]] = []
        self._doubtful: list[Mirror] = []
        self._task: Task | None = None
        self._copier = Copier(throttle)

    def build(self, mirror: Mirror, replica: Replica) -> None:
        """Queue a replica to be brought into sync."""
        replica.state, replica.why = QUEUED, ""
        mirror.refresh()
        self._wanted.append((mirror, replica))
        self._start()

    def resolve(self, mirror: Mirror) -> None:
        """Queue a mirror whose replicas may differ."""
        if mirror not in self._doubtful:
            self._doubtful.append(mirror)
            self._start()

    def cancel(self, mirror: Mirror, replica: Replica) -> None:
        """Stop or forget the building of a replica; it is left faulty."""
        self._wanted = [item for item in self._wanted if item[1] is not replica]
        if replica.state == QUEUED:
            replica.state, replica.why = FAULTY, ASKED
            mirror.refresh()
            replica.drop()
            self._save()
        elif replica.state == BUILDING:
            mirror.fail(replica, ASKED)

    async def stop(self) -> None:
        """Begin nothing more and wait for what is under way."""
        self._copier.stopped = True
        if self._task is not None:
            await self._task

    def _start(self) -> None:
        if self._task is None and not self._copier.stopped:
            # Not at once: whoever queues has to finish its own change of state first.
            self._task = Task(self._work())

    async def _work(self) -> None:
        await self._throttle.sleep(0)
        while (self._wanted or self._doubtful) and not self._copier.stopped:
            if self._wanted:
                mirror, replica = self._wanted.pop(0)
                await self._resolve(mirror)
                await self._build(mirror, replica)
            else:
                await self._resolve(self._doubtful[0])
                self._doubtful.pop(0)
        self._task = None

    # -- chunks in doubt

    async def _resolve(self, mirror: Mirror) -> None:
        if not mirror.doubts:
            return
        if len(mirror.writers) == 1:
            mirror.mark_in_sync()
            return
        copying = Doubt(mirror)
        try:
            await self._copier.copy(copying, mirror.intent.doubtful())
        except CopyStopped:
            return

    # -- a replica

    async def _build(self, mirror: Mirror, replica: Replica) -> None:
        if replica.state != QUEUED:
            return
        error, _ = await self._connections.connect(
            replica, mirror.size, partial(mirror.lost, replica)
        )
        if not error:
            await self._recognise(mirror, replica)
        if replica.state != QUEUED:
            replica.drop()
            return
        if error:
            replica.state, replica.why = FAULTY, CONNECTION
            mirror.refresh()
            await self._save()
            return
        copying = Build(mirror, replica)
        copying.join()
        await self._save()
        try:
            await self._copier.copy(copying, copying.chunks())
            await self._finish(mirror, replica)
        except CopyStopped:
            mirror.fail(replica, ASKED if self._copier.stopped else IO)
        await self._save()

    async def _recognise(self, mirror: Mirror, replica: Replica) -> None:
        """What came back may be an older image of it: then it lacks more than it missed."""
        error, block = await io(replica, protocol.READ, mirror.size, MARK_BYTES)
        if not error and replica.missed is not None and unpack_mark(block).events < replica.events:
            replica.missed.add_all()

    async def _finish(self, mirror: Mirror, replica: Replica) -> None:
        error, _ = await io(replica, protocol.FLUSH, 0, 0)
        marked = -1
        while not error and replica.state == BUILDING and marked != mirror.events:
            await mirror.settlement.settled()
            marked = mirror.events
            block = pack_mark(Mark(mirror.epoch, marked, clean=False))
            error, _ = await io(
                replica, protocol.WRITE, mirror.size, MARK_BYTES, block, protocol.FUA
            )
            if mirror.settlement.under_way:
                marked = -1
        if error or replica.state != BUILDING:
            raise CopyStopped
        replica.state, replica.why, replica.events = INSYNC, "", marked
        if replica.missed is not None:
            replica.missed.remove()
            replica.missed = None
        mirror.refresh()
        self._drop_replaced(mirror, replica)

    def _drop_replaced(self, mirror: Mirror, replica: Replica) -> None:
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
