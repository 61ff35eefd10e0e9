"""Simulated nodes: real XML-RPC servers on loopback that keep books instead of bytes.

They follow the rules of agents/protocol.py (epochs, marks, repeats answered from a journal), so the
manager's decisions can be tested in milliseconds; the real agents are tested in tests/agents and
tests/cluster.
"""

import errno
import itertools
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from agents.checksums import BLOCKS, digest, fold
from agents.protocol import (
    NODE,
    AttachOrder,
    ChecksumQuestion,
    ChecksumReply,
    DetachOrder,
    DeviceState,
    DiskContent,
    DiskQuestion,
    DiskState,
    EvictOrder,
    ExportOrder,
    ExportReply,
    ExportState,
    ExtentRef,
    FenceQuestion,
    FoundReplica,
    GroupFence,
    GroupFences,
    GroupState,
    HeadState,
    HighestSeen,
    MendOrder,
    Progress,
    PullOrder,
    Reason,
    RebuildOrder,
    RefusedDisk,
    RelocateOrder,
    ReplicaDigests,
    ReplicaMark,
    ReplicaReport,
    ReplicaState,
    Report,
    ShredOrder,
    SnapshotOrder,
    StorageState,
    UnsnapshotOrder,
    VerifyOrder,
    VerifyReply,
)
from agents.structs import from_struct, to_struct

_hosts = itertools.count(10)
_beats = itertools.count(1)

PAGE = 20
"""Replicas that a disk tells of at once."""


class _Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ()
    timeout = 5


@dataclass
class Node:
    """A machine that can be up, dead (refuses) or hung (accepts and never answers)."""

    world: "World"
    address: str
    port: int
    log: list[tuple[str, Any]] = field(default_factory=list)
    reports: dict[tuple[int, int], Report] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    babbles: bool = False
    server_id: int = 0
    node_uuid: str = ""
    _server: _Server | None = None
    _hung: socket.socket | None = None

    def start(self) -> None:
        self._server = _Server(
            (self.address, self.port), _Handler, logRequests=False, allow_none=False
        )
        self._server.register_instance(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _dispatch(self, method: str, params: tuple[Any, ...]) -> Any:
        """Called by SimpleXMLRPCServer for every request."""
        name = method.removeprefix("vastsky.")
        struct = params[0]
        if self.babbles:
            return {"x": ["nonsense", 1]}
        if self.node_uuid and struct.get(NODE, self.node_uuid) != self.node_uuid:
            raise Fault(errno.EREMCHG, f"this is node {self.node_uuid}")
        if name in self.refuse:
            raise Fault(*self.refuse[name])
        if name == "report":
            key = (struct["eventid"], struct["order"])
            unknown = Report(*key, Progress.UNKNOWN)
            return to_struct(self.reports.get(key, unknown))
        if name in {"acknowledge", "cancel"}:
            return 0
        kind = ORDERS.get(name)
        order = from_struct(kind, struct) if kind else None
        if order is not None:
            self.log.append((name, order))
        with self.world.lock:
            answer = getattr(self, f"on_{name}")(order)
        return 0 if answer is None else to_struct(answer)

    def die(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._hung:
            self._hung.close()
            self._hung = None

    def move(self, address: str) -> None:
        self.die()
        self.address = address
        self.start()

    def hang(self) -> None:
        self.die()
        self._hung = socket.create_server((self.address, self.port), reuse_port=False)

    def babble(self) -> None:
        self.babbles = True

    def told(self, method: str) -> list[Any]:
        return [order for name, order in self.log if name == method]

    def journal(self, order: Any, answer: Callable[[], Report]) -> Report:
        key = (order.eventid, order.order)
        if key not in self.reports:
            self.reports[key] = answer()
        return self.reports[key]


@dataclass
class Storage(Node):
    exports: dict[int, tuple[int, int]] = field(default_factory=dict)
    clients: int = 0
    min_epoch: dict[int, int] = field(default_factory=dict)
    disks: list[DiskState] = field(default_factory=list)
    refused: list[RefusedDisk] = field(default_factory=list)
    held: dict[str, dict[int, FoundReplica]] = field(default_factory=lambda: defaultdict(dict))
    """What its disks tell of, by the disk's name and the dextid; below 0: a mark alone."""
    seen: HighestSeen = field(default_factory=HighestSeen)
    incarnation: int = 1
    cluster: str = ""
    hold_shreds: bool = False
    shredded: list[int] = field(default_factory=list)

    def on_state(self, _: None) -> StorageState:
        exports = tuple(
            ExportState(dext, lvol, epoch, self.clients, "disk-1")
            for dext, (lvol, epoch) in self.exports.items()
        )
        return StorageState(
            self.server_id,
            "boot",
            self.cluster,
            self.incarnation,
            9,
            tuple(self.disks),
            exports,
            self.seen,
            tuple(self.refused),
            self.node_uuid,
        )

    def on_content(self, question: DiskQuestion) -> DiskContent:
        """Tell a page, by where it lies."""
        held = sorted(self.held[question.disk].values(), key=lambda one: one.at_gb)
        rest = [one for one in held if one.at_gb >= question.first_gb]
        page, beyond = rest[:PAGE], rest[PAGE:]
        told = tuple(replace(one, mark=self._mark(one)) for one in page)
        return DiskContent(told, beyond[0].at_gb if beyond else 0)

    def on_fences(self, question: FenceQuestion) -> GroupFences:
        fences = sorted(self.min_epoch.items())
        return GroupFences(tuple(GroupFence(*f) for f in fences if f[0] > question.after))

    def _mark(self, held: FoundReplica) -> ReplicaMark:
        return self.world.mark(held.mark.dextid) if held.mark.dextid else held.mark

    def _hold(self, order: ExportOrder | PullOrder, extent: ExtentRef) -> bool:
        """Keep what an extent holds, unless something else lies there."""
        about = next((r for r in order.about.replicas if r.dextid == extent.dextid), None)
        if about is None:
            return True
        volume = next(v for v in order.about.volumes if v.lvolid == about.lvolid)
        mark = self.world.mark(extent.dextid)
        new = FoundReplica(
            at_gb=extent.offset_gb,
            live=True,
            mark=mark,
            generation=extent.generation,
            size_gb=extent.size_gb,
            mirrorid=about.mirrorid,
            offset_gb=about.offset_gb,
            volume=volume,
        )
        held = self.held[extent.disk]
        others = [h for h in held.values() if _meets(h, extent) and not _is_same(h, new)]
        if about.fresh and mark.epoch:
            held[-extent.dextid] = FoundReplica(
                extent.offset_gb, live=True, mark=replace(mark, dextid=0)
            )
            return False
        if others:
            return False
        held[extent.dextid] = new
        return True

    def on_export(self, order: ExportOrder) -> ExportReply:
        if order.epoch < self.min_epoch.get(order.lvolid, 0):
            raise Fault(errno.ESTALE, "that epoch is over")
        self.min_epoch[order.lvolid] = order.epoch
        for dextid, (lvolid, epoch) in list(self.exports.items()):
            if lvolid == order.lvolid and epoch < order.epoch:
                del self.exports[dextid]
        clean = [extent for extent in order.extents if self._hold(order, extent)]
        for extent in clean:
            self.exports[extent.dextid] = (order.lvolid, order.epoch)
        marks = tuple(self.world.mark(extent.dextid) for extent in clean)
        occupied = tuple(e.dextid for e in order.extents if e not in clean)
        return ExportReply(9, marks, {str(d): "something lies there" for d in occupied}, occupied)

    def on_evict(self, order: EvictOrder) -> None:
        for dextid, (lvolid, epoch) in list(self.exports.items()):
            named = not order.dextids or dextid in order.dextids
            if lvolid == order.lvolid and epoch <= order.epoch and named:
                del self.exports[dextid]
        if not order.dextids:
            least = self.min_epoch.get(order.lvolid, 0)
            self.min_epoch[order.lvolid] = max(least, order.epoch + 1)

    def on_shred(self, order: ShredOrder) -> Report:
        self.exports.pop(order.extent.dextid, None)
        return self.journal(order, lambda: self._shred(order))

    def _shred(self, order: ShredOrder) -> Report:
        if self.hold_shreds:
            return Report(order.eventid, order.order, Progress.RUNNING, 5, 100)
        held = self.held[order.extent.disk]
        met = [dextid for dextid, h in held.items() if _meets(h, order.extent)]
        if {d for d in met if d > 0} - {order.extent.dextid} and not order.over:
            key = (order.eventid, order.order)
            return Report(*key, Progress.FAILED, errno=errno.EEXIST, message="something lies there")
        for dextid in met:
            del held[dextid]
        self.shredded.append(order.extent.dextid)
        self.world.marks.pop(order.extent.dextid, None)
        return Report(order.eventid, order.order, Progress.DONE)

    def on_pull(self, order: PullOrder) -> Report:
        source = int(order.source.export.split(".")[0])
        mark = replace(self.world.mark(source), dextid=order.target.dextid)
        self._hold(order, order.target)
        self.world.marks[order.target.dextid] = mark
        return self.journal(order, lambda: Report(order.eventid, order.order, Progress.RUNNING))

    def on_checksums(self, question: ChecksumQuestion) -> ChecksumReply:
        """Tell at most 100 chunks at once; contents are the world's, by blocks."""
        count = min(question.count, 100)
        told: list[str] = []
        for chunk in range(question.offset_mib, question.offset_mib + count):
            blocks = self.world.blocks(question.extent.dextid, chunk)
            told += blocks if question.fine else [digest("".join(blocks).encode())]
        return ChecksumReply(count, tuple(told), self.world.mark(question.extent.dextid))

    def on_mend(self, order: MendOrder) -> None:
        source = int(order.source.export.split(".")[0])
        end = order.first + order.count
        right = self.world.blocks(source, order.offset_mib)[order.first : end]
        if fold(right) != order.expected:
            raise Fault(errno.ESTALE, "the source has other contents by now")
        self.world.write(order.target.dextid, order.offset_mib, order.first, right)

    def finish(self, order: Any, progress: Progress = Progress.DONE, message: str = "") -> None:
        """Let the order that is running end."""
        key = (order.eventid, order.order)
        self.reports[key] = Report(*key, progress, 100, 100, errno=0, message=message)


def _meets(held: FoundReplica, extent: ExtentRef) -> bool:
    return held.at_gb < extent.offset_gb + extent.size_gb and extent.offset_gb < held.at_gb + max(
        held.size_gb, 1
    )


def _is_same(one: FoundReplica, other: FoundReplica) -> bool:
    return (one.mark.dextid, one.generation, one.mirrorid, one.volume.created) == (
        other.mark.dextid,
        other.generation,
        other.mirrorid,
        other.volume.created,
    )


@dataclass
class Group:
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
    groups: dict[int, Group] = field(default_factory=dict)
    births: dict[int, int] = field(default_factory=dict)
    age: int = 0
    seen: HighestSeen = field(default_factory=HighestSeen)
    incarnation: int = 1
    cluster: str = ""

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
        group = self.groups[order.lvolid] = Group(order)
        for device in order.devices:
            self._assemble(group, device.mirrors)
        replicas = tuple(group.replicas.values())
        return Report(order.eventid, order.order, Progress.DONE, replicas=replicas)

    def _assemble(self, group: Group, mirrors: Any) -> None:
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


ORDERS: dict[str, Any] = {
    "export": ExportOrder,
    "evict": EvictOrder,
    "shred": ShredOrder,
    "pull": PullOrder,
    "content": DiskQuestion,
    "fences": FenceQuestion,
    "attach": AttachOrder,
    "detach": DetachOrder,
    "snapshot": SnapshotOrder,
    "unsnapshot": UnsnapshotOrder,
    "rebuild": RebuildOrder,
    "relocate": RelocateOrder,
    "checksums": ChecksumQuestion,
    "mend": MendOrder,
    "verify": VerifyOrder,
}


@dataclass
class World:
    """All simulated machines, the marks on their disks, and the digests of what is no hole.

    `hot` are chunks that a client overwrites all the time: asked twice they never are the same.
    """

    head_port: int
    storage_port: int
    marks: dict[int, ReplicaMark] = field(default_factory=dict)
    contents: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    hot: set[tuple[int, int]] = field(default_factory=set)
    heads: dict[int, Head] = field(default_factory=dict)
    storages: dict[int, Storage] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def mark(self, dextid: int) -> ReplicaMark:
        return self.marks.get(dextid, ReplicaMark(dextid, 0, 0, clean=True))

    def blocks(self, dextid: int, chunk: int) -> list[str]:
        blocks = self.contents.get((dextid, chunk), [""] * BLOCKS)
        if (dextid, chunk) in self.hot:
            place = next(_beats) % BLOCKS
            return [*blocks[:place], f"v{next(_beats)}", *blocks[place + 1 :]]
        return list(blocks)

    def write(self, dextid: int, chunk: int, first: int, digests: list[str]) -> None:
        blocks = self.contents.setdefault((dextid, chunk), [""] * BLOCKS)
        blocks[first : first + len(digests)] = digests

    def settle(self, dextids: list[int], chunk: int) -> None:
        """Let a client's writes land: under a range lock nothing is in flight."""
        self.hot -= {(dextid, chunk) for dextid in dextids}

    def new_storage(self) -> Storage:
        node = Storage(self, f"127.21.0.{next(_hosts) % 240}", self.storage_port)
        node.start()
        return node

    def new_head(self) -> Head:
        node = Head(self, f"127.22.0.{next(_hosts) % 240}", self.head_port)
        node.start()
        return node

    def stop(self) -> None:
        for node in [*self.heads.values(), *self.storages.values()]:
            node.die()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def simulated_world() -> Iterator[World]:
    world = World(free_port(), free_port())
    try:
        yield world
    finally:
        world.stop()
