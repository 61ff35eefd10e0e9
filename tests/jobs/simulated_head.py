"""A simulated head: it keeps books of its groups and of the replicas that they use."""

import errno
from dataclasses import dataclass, field, replace
from typing import Any
from xmlrpc.client import Fault

from agents.checksums import fold
from agents.protocol import (
    AttachOrder,
    DetachOrder,
    DeviceState,
    FenceQuestion,
    GroupFences,
    GroupState,
    HeadState,
    HighestSeen,
    PathQuestion,
    PathReply,
    Progress,
    Reason,
    RebuildOrder,
    RelocateOrder,
    ReplicaDigests,
    ReplicaMark,
    ReplicaReport,
    ReplicaState,
    Report,
    SnapshotOrder,
    UnsnapshotOrder,
    VerifyOrder,
    VerifyReply,
)
from tests.jobs.simulated_node import Node


@dataclass
class SimulatedGroup:
    order: AttachOrder
    events: dict[int, int] = field(default_factory=dict)
    replicas: dict[int, ReplicaReport] = field(default_factory=dict)
    open: bool = False
    alive: bool = True
    broken: set[int] = field(default_factory=set)
    snapshots: set[int] = field(default_factory=set)
    waiting: int = 0

    @property
    def devices(self) -> set[int]:
        return {d.lvolid for d in self.order.devices} | self.broken | self.snapshots


@dataclass
class Head(Node):
    groups: dict[int, SimulatedGroup] = field(default_factory=dict)
    births: dict[int, int] = field(default_factory=dict)
    age: int = 0
    seen: HighestSeen = field(default_factory=HighestSeen)
    incarnation: int = 1
    cluster: str = ""
    micros: dict[str, int] = field(default_factory=dict)
    paths_age: int = 0
    measured: dict[str, int] = field(default_factory=dict)

    def on_paths(self, question: PathQuestion) -> PathReply:
        self.measured = dict(zip(question.addresses, question.ports, strict=True))
        return PathReply(tuple(self.micros.get(a, 200) for a in question.addresses), self.paths_age)

    def on_state(self, _: None) -> HeadState:
        groups = tuple(
            GroupState(
                lvolid,
                group.order.epoch,
                alive=group.alive,
                devices=tuple(
                    DeviceState(device, 0, broken=device in group.broken, waiting=group.waiting)
                    for device in group.devices
                ),
                replicas=tuple(group.replicas.values()),
            )
            for lvolid, group in self.groups.items()
        )
        return HeadState(
            self.server_id,
            "boot",
            self.cluster,
            self.incarnation,
            groups,
            self.age,
            self.seen,
            self.node_uuid,
        )

    def on_fences(self, _: FenceQuestion) -> GroupFences:
        return GroupFences(())

    def on_attach(self, order: AttachOrder) -> Report:
        for device in order.devices:
            if self.births.setdefault(device.lvolid, device.created) != device.created:
                raise Fault(errno.EEXIST, f"volume {device.lvolid} is another one here")
        return self.journal(order, lambda: self._attach(order))

    def _attach(self, order: AttachOrder) -> Report:
        group = self.groups[order.lvolid] = SimulatedGroup(order)
        for device in order.devices:
            self._assemble(group, device.mirrors)
        replicas = tuple(group.replicas.values())
        return Report(order.eventid, order.order, Progress.DONE, replicas=replicas)

    def _assemble(self, group: SimulatedGroup, mirrors: Any) -> None:
        for mirror in mirrors:
            events = group.events[mirror.mirrorid] = mirror.events + 1
            for replica in mirror.replicas:
                self.world.marks[replica.dextid] = ReplicaMark(
                    replica.dextid, group.order.epoch, events, clean=False
                )
                group.replicas[replica.dextid] = ReplicaReport(
                    replica.dextid, mirror.mirrorid, ReplicaState.INSYNC, events
                )

    def lose(self, dextid: int, reason: str = "connection") -> None:
        """Leave a replica behind, as a head does when a write to it fails."""
        group = next(g for g in self.groups.values() if dextid in g.replicas)
        lost = group.replicas[dextid]
        group.replicas[dextid] = replace(lost, state=ReplicaState.FAULTY, reason=Reason(reason))
        group.events[lost.mirrorid] += 1
        for replica in list(group.replicas.values()):
            if replica.mirrorid == lost.mirrorid and replica.state == ReplicaState.INSYNC:
                events = group.events[lost.mirrorid]
                group.replicas[replica.dextid] = replace(replica, events=events)
                self.world.marks[replica.dextid] = replace(
                    self.world.mark(replica.dextid), events=events
                )

    def cut_off(self, dextid: int, reason: str = "connection") -> None:
        """Lose the connection to a last good replica, or have it back."""
        group = next(g for g in self.groups.values() if dextid in g.replicas)
        group.replicas[dextid] = replace(group.replicas[dextid], reason=Reason(reason))

    def on_relocate(self, order: RelocateOrder) -> None:
        """A group that is dead looks for its replicas there when it is revived."""

    def on_detach(self, order: DetachOrder) -> Report:
        return self.journal(order, lambda: self._detach(order))

    def _detach(self, order: DetachOrder) -> Report:
        group = self.groups.get(order.lvolid)
        if group is None:
            return Report(order.eventid, order.order, Progress.DONE)
        if group.open and not order.force:
            return Report(
                order.eventid, order.order, Progress.FAILED, errno=errno.EBUSY, message="open"
            )
        del self.groups[order.lvolid]
        replicas = tuple(group.replicas.values())
        for replica in replicas:
            if replica.state == ReplicaState.INSYNC:
                self.world.marks[replica.dextid] = ReplicaMark(
                    replica.dextid, group.order.epoch, replica.events, clean=True
                )
        return Report(order.eventid, order.order, Progress.DONE, replicas=replicas)

    def on_snapshot(self, order: SnapshotOrder) -> Report:
        self.groups[order.lvolid].snapshots.add(order.device.lvolid)
        self._assemble(self.groups[order.lvolid], order.device.mirrors)
        return self.journal(order, lambda: Report(order.eventid, order.order, Progress.DONE))

    def on_unsnapshot(self, order: UnsnapshotOrder) -> Report:
        self.groups[order.lvolid].snapshots.discard(order.snapshot)
        return self.journal(order, lambda: Report(order.eventid, order.order, Progress.DONE))

    def on_rebuild(self, order: RebuildOrder) -> Report:
        return self.journal(
            order, lambda: Report(order.eventid, order.order, Progress.RUNNING, 10, 100)
        )

    def on_verify(self, order: VerifyOrder) -> VerifyReply:
        group = self.groups[order.lvolid]
        replicas = [r.dextid for r in group.replicas.values() if r.mirrorid == order.mirrorid]
        place, end = order.offset_mib, order.first + order.count
        self.world.settle(replicas, place)
        right = self.world.blocks(order.source, place)[order.first : end]
        if order.source and fold(right) == order.expected:
            for dextid in replicas:
                self.world.write(dextid, place, order.first, right)
        return VerifyReply(
            tuple(
                ReplicaDigests(dextid, tuple(self.world.blocks(dextid, place)[order.first : end]))
                for dextid in replicas
            )
        )

    def finish(self, order: RebuildOrder, progress: Progress = Progress.DONE) -> None:
        """Let a rebuild end; a replica that it replaces is dropped."""
        key = (order.eventid, order.order)
        self.reports[key] = Report(*key, progress, 100, 100, message="it broke")
        if progress == Progress.DONE:
            group = self.groups[order.lvolid]
            group.replicas.pop(order.replaces, None)
            events = group.events[order.mirrorid]
            group.replicas[order.replica.dextid] = ReplicaReport(
                order.replica.dextid, order.mirrorid, ReplicaState.INSYNC, events
            )
            self.world.marks[order.replica.dextid] = ReplicaMark(
                order.replica.dextid, group.order.epoch, events, clean=False
            )
            replicas = tuple(group.replicas.values())
            self.reports[key] = replace(self.reports[key], replicas=replicas)
