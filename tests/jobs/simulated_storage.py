"""A simulated storage server: it keeps books of what its disks hold and export."""

import errno
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any
from xmlrpc.client import Fault

from agents.checksums import digest, fold
from agents.protocol import (
    ChecksumQuestion,
    ChecksumReply,
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
    HighestSeen,
    MendOrder,
    Progress,
    PullOrder,
    RefusedDisk,
    ReplicaMark,
    Report,
    ShredOrder,
    StorageState,
)
from tests.jobs.simulated_node import Node

PAGE = 20
"""Replicas that a disk tells of at once."""


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
