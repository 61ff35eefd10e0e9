"""What a head agent does when told: attach, detach, snapshot, unsnapshot, rebuild, verify."""

import errno
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from agents.engines.base import HeadEngine
from agents.errors import AgentError
from agents.node.fences import Fences, Stale
from agents.node.head.births import Births
from agents.node.journal import Journal
from agents.node.orders import Cancelled, Orders, RunningOrder
from agents.protocol import (
    AttachOrder,
    DetachOrder,
    DeviceSpec,
    GroupState,
    RebuildOrder,
    RelocateOrder,
    ReplicaReport,
    ReplicaState,
    Report,
    SnapshotOrder,
    UnsnapshotOrder,
    VerifyOrder,
    VerifyReply,
)
from agents.struct_codec import from_struct

ANSWER_SECONDS = 20.0
"""An order that takes longer is answered with RUNNING; clients wait 25 s."""
POLL_SECONDS = 0.25
START_ANEW = ("attach", "detach", "snapshot", "unsnapshot")


class HeadOrders:
    """Obeys the manager's orders; one at a time touches a group."""

    def __init__(
        self,
        *,
        engine: HeadEngine,
        fences: Fences,
        births: Births,
        orders: Orders,
        assembled: Callable[[int], None],
        given_up: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._given_up = given_up
        self._assembled = assembled
        self._fences = fences
        self._births = births
        self._orders = orders
        self._groups: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def attach(self, order: AttachOrder) -> Report:
        """Assemble a group; its epoch is the only one from now on."""
        self._orders.admit(order.incarnation)
        self._meet(*order.devices)
        self._fences.check(order.lvolid, order.epoch)
        self._fences.fence_below(order.lvolid, order.epoch)
        return self._take("attach", order, order.lvolid, partial(self._attach, order))

    def detach(self, order: DetachOrder) -> Report:
        """Take a group down; one that is down already is fine.

        One that was fenced goes at once, before all that waits for it or for its clients.
        """
        self._orders.admit(order.incarnation)
        if order.force:
            self._cut(order.lvolid, order.epoch)
        return self._take("detach", order, order.lvolid, partial(self._detach, order))

    def snapshot(self, order: SnapshotOrder) -> Report:
        """Add a snapshot to an attached group."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        self._meet(order.device)
        return self._take("snapshot", order, order.lvolid, partial(self._snapshot, order))

    def unsnapshot(self, order: UnsnapshotOrder) -> Report:
        """Take a snapshot away from an attached group."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        return self._take("unsnapshot", order, order.lvolid, partial(self._unsnapshot, order))

    def rebuild(self, order: RebuildOrder) -> Report:
        """Begin to bring a replica into sync."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        return self._orders.take("rebuild", order, partial(self._rebuild, order))

    def relocate(self, order: RelocateOrder) -> None:
        """Note where a dead group's replicas are now, here and now."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        self._engine.relocate(order.lvolid, order.epoch, order.replicas)

    def verify(self, order: VerifyOrder) -> VerifyReply:
        """Compare blocks of an attached mirror's replicas, here and now."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        self._attached(order.lvolid, order.epoch)
        return VerifyReply(self._engine.verify(order))

    def resume(self, journal: Journal) -> None:
        """Watch the rebuilds that run; forget what the manager will order again."""
        for method in START_ANEW:
            for entry in journal.running(method):
                journal.forget(entry.key)
        for entry in journal.running("rebuild"):
            order = from_struct(RebuildOrder, entry.struct)
            self._orders.resume(entry, partial(self._rebuild, order))

    def _meet(self, *devices: DeviceSpec) -> None:
        """Let each number name one volume for ever."""
        for device in devices:
            self._births.check(device)
        for device in devices:
            self._births.learn(device)

    def _take(
        self,
        method: str,
        order: AttachOrder | DetachOrder | SnapshotOrder | UnsnapshotOrder,
        lvolid: int,
        act: Callable[[], tuple[ReplicaReport, ...]],
    ) -> Report:
        def work(_: RunningOrder) -> tuple[ReplicaReport, ...]:
            with self._groups[lvolid]:
                return act()

        return self._orders.take(method, order, work, wait=ANSWER_SECONDS)

    def _attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        self._fences.check(order.lvolid, order.epoch)  # a detach may have come in between
        self._assembled(order.lvolid)
        return self._engine.attach(order)

    def _cut(self, lvolid: int, epoch: int) -> None:
        """End a group of this epoch or an older one, and have it revived by nobody."""
        if self._fences.lowest(lvolid) > epoch + 1:
            return  # a newer one was attached here since
        self._fences.fence_below(lvolid, epoch + 1)
        self._given_up(lvolid)
        self._engine.cut(lvolid, epoch)

    def _detach(self, order: DetachOrder) -> tuple[ReplicaReport, ...]:
        group = self._find(order.lvolid)
        if group is not None and group.epoch > order.epoch:
            raise Stale(f"epoch {group.epoch} of group {order.lvolid} is attached")
        replicas = self._engine.detach(order.lvolid)
        self._fences.fence_below(order.lvolid, order.epoch + 1)
        return replicas

    def _snapshot(self, order: SnapshotOrder) -> tuple[ReplicaReport, ...]:
        group = self._attached(order.lvolid, order.epoch)
        if order.device.lvolid not in {device.lvolid for device in group.devices}:
            self._engine.snapshot(order.lvolid, order.device)
        return self._attached(order.lvolid, order.epoch).replicas

    def _unsnapshot(self, order: UnsnapshotOrder) -> tuple[ReplicaReport, ...]:
        self._attached(order.lvolid, order.epoch)
        self._engine.unsnapshot(order.lvolid, order.snapshot)
        return self._attached(order.lvolid, order.epoch).replicas

    def _rebuild(self, order: RebuildOrder, task: RunningOrder) -> tuple[ReplicaReport, ...]:
        """Start the rebuild, which changes nothing if it runs or is done; watch it to its end."""
        dextid = order.replica.dextid
        with self._groups[order.lvolid]:
            self._attached(order.lvolid, order.epoch)
            self._engine.rebuild(order.lvolid, order.mirrorid, order.replica, order.replaces)
        while True:
            replica = self._replica(order)
            if replica is None:
                raise AgentError(errno.ENOENT, f"replica {dextid} is no longer in the group")
            if replica.state is ReplicaState.FAULTY:
                raise AgentError(errno.EIO, f"replica {dextid} failed: {replica.reason}")
            try:
                task.progress(replica.done_mib, replica.total_mib)
            except Cancelled:
                self._engine.cancel(order.lvolid, dextid)
                raise
            if replica.state is ReplicaState.INSYNC:
                return self._attached(order.lvolid, order.epoch).replicas
            task.cancelled.wait(POLL_SECONDS)

    def _replica(self, order: RebuildOrder) -> ReplicaReport | None:
        replicas = self._attached(order.lvolid, order.epoch).replicas
        return next(
            (replica for replica in replicas if replica.dextid == order.replica.dextid), None
        )

    def _attached(self, lvolid: int, epoch: int) -> GroupState:
        group = self._find(lvolid)
        if group is None:
            raise AgentError(errno.ENOENT, f"group {lvolid} is not attached here")
        if group.epoch != epoch:
            raise Stale(f"epoch {group.epoch} of group {lvolid} is attached, not {epoch}")
        return group

    def _find(self, lvolid: int) -> GroupState | None:
        return next((group for group in self._engine.groups() if group.lvolid == lvolid), None)
