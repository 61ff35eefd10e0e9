"""What a storage agent does when told: export, evict, shred, pull, mend."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from agents.engines.base import Lease, LeaseUse, StorageEngine
from agents.errors import AgentError
from agents.node.fences import Fences
from agents.node.journal import Journal
from agents.node.orders import Orders, RunningOrder
from agents.node.storage import mend
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import OpenDisk
from agents.node.storage.occupancy import Occupied, describe, described, require_over
from agents.node.storage.pull import pull
from agents.node.storage.zeroing import BadBlocks, shred
from agents.ondisk import GB, Descriptor, age_of
from agents.protocol import (
    EvictOrder,
    ExportOrder,
    ExportReply,
    ExtentRef,
    MendOrder,
    PullOrder,
    ReplicaMark,
    ReplicaReport,
    Report,
    ShredOrder,
    export_name,
)
from agents.rate_limit import RateLimit
from agents.struct_codec import from_struct

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Events:
    """Whom to tell what the manager has to be notified of."""

    shredded: Callable[[int, int], None]
    bad_blocks: Callable[[OpenDisk, list[int]], None]


class StorageOrders:
    """Obeys the manager's orders; one at a time touches the leases."""

    def __init__(
        self,
        *,
        engine: StorageEngine,
        disks: Disks,
        fences: Fences,
        orders: Orders,
        events: Events,
        shred_rate: RateLimit,
    ) -> None:
        self._engine = engine
        self._disks = disks
        self._fences = fences
        self._orders = orders
        self._events = events
        self._rate = shred_rate
        self._leases = threading.Lock()
        self._claims: list[ExtentRef] = []
        self.highest_extent = 0

    def export(self, order: ExportOrder) -> ExportReply:
        """Evict older epochs, then serve what can be served and tell why the rest cannot."""
        self._orders.admit(order.incarnation)
        with self._leases:
            self._fences.check(order.lvolid, order.epoch)
            self._fences.fence_below(order.lvolid, order.epoch)
            uses = self._engine.leases()
            evicted = [use for use in uses if _is_older(use, order)]
            self._drop(evicted)
            kept = [use for use in uses if use not in evicted]
            leases, marks, refused = self._leases_for(order, kept)
            self._engine.export(leases)
        for dextid, reason in refused.items():
            logger.warning("event %d: extent %d refused: %s", order.eventid, dextid, reason)
        told = {str(dextid): str(reason) for dextid, reason in refused.items()}
        occupied = tuple(d for d, reason in refused.items() if isinstance(reason, Occupied))
        return ExportReply(self._engine.port, tuple(marks), told, occupied)

    def evict(self, order: EvictOrder) -> None:
        """Serve the group no more; named extents only, if any are named."""
        self._orders.admit(order.incarnation)
        with self._leases:
            if not order.dextids:
                self._fences.fence_below(order.lvolid, order.epoch + 1)
            self._drop([use for use in self._engine.leases() if _is_evicted(use, order)])

    def shred(self, order: ShredOrder) -> Report:
        """Begin to zero an extent."""
        self._orders.admit(order.incarnation)
        return self._orders.take("shred", order, partial(self._shred, order))

    def pull(self, order: PullOrder) -> Report:
        """Begin to copy an extent from another server."""
        self._orders.admit(order.incarnation)
        self._fences.check(order.lvolid, order.epoch)
        return self._orders.take("pull", order, partial(self._pull, order))

    def mend(self, order: MendOrder) -> None:
        """Copy blocks from another server, here and now; no newer epoch begins meanwhile."""
        self._orders.admit(order.incarnation)
        data = mend.read_source(order)
        with self._leases:
            self._fences.check(order.lvolid, order.epoch)
            disk = self._admit_extent(order.target)
            mend.overwrite(disk, order, data)
        logger.info("extent %d: mended at MiB %d", order.target.dextid, order.offset_mib)

    def resume(self, journal: Journal) -> None:
        """Go on with what an earlier process of this agent had begun."""
        for entry in journal.running("shred"):
            shred_order = from_struct(ShredOrder, entry.struct)
            self._orders.resume(entry, partial(self._shred, shred_order))
        for entry in journal.running("pull"):
            pull_order = from_struct(PullOrder, entry.struct)
            self._orders.resume(entry, partial(self._pull, pull_order))

    def _leases_for(
        self, order: ExportOrder, uses: list[LeaseUse]
    ) -> tuple[list[Lease], list[ReplicaMark], dict[int, AgentError | OSError]]:
        leases, marks = [], []
        refused: dict[int, AgentError | OSError] = {}
        touched: dict[str, OpenDisk] = {}
        wanted = described(order.about)
        fresh = {one.dextid for one in order.about.replicas if one.fresh}
        for extent in order.extents:
            try:
                is_fresh = extent.dextid in fresh
                disk = self._admit_extent(extent, wanted.get(extent.dextid), fresh=is_fresh)
                lease = _lease(disk, extent, order)
                self._make_room(lease, uses)
                marks.append(disk.super_extent.read_mark(extent.dextid, extent.offset_gb))
            except (AgentError, OSError) as error:
                refused[extent.dextid] = error
                continue
            leases.append(lease)
            touched[disk.uuid] = disk
        for disk in touched.values():
            disk.super_extent.flush()
        return leases, marks, refused

    def _admit_extent(
        self,
        extent: ExtentRef,
        wanted: Descriptor | None = None,
        *,
        fresh: bool = False,
        shredded: bool = False,
        over: bool = True,
    ) -> OpenDisk:
        """Find the extent's disk and close the extent to older orders, not yet durably.

        Its disk tells from now on what is `wanted` of it. Unless all that lies there is `over`,
        Occupied where something else does.
        """
        disk = self._disks.locate(extent)
        for claim in self._claims:
            if _overlap(claim, extent):
                raise AgentError(errno.EBUSY, f"extent {claim.dextid} there is being written")
        place, age = disk.super_extent, age_of(extent.generation, shredded=shredded)
        if age < place.age(extent.offset_gb, extent.size_gb):
            raise AgentError(errno.ESTALE, f"generation {extent.generation} of it is stale")
        if not over:
            require_over(place, extent)
        if wanted is not None:
            describe(place, extent, wanted, fresh=fresh)
            self.highest_extent = max(self.highest_extent, extent.dextid)
        place.set_age(extent.offset_gb, extent.size_gb, age)
        return disk

    def _make_room(self, lease: Lease, uses: list[LeaseUse]) -> None:
        """Drop the group's own leases that are in the way; refuse for those of other groups."""
        in_the_way = [
            use for use in uses if use.lease != lease and _leases_overlap(use.lease, lease)
        ]
        for use in in_the_way:
            if use.lease.lvolid != lease.lvolid:
                raise AgentError(
                    errno.EBUSY, f"extent {use.lease.dextid} of group {use.lease.lvolid} is there"
                )
        self._drop(in_the_way)

    def _drop(self, uses: list[LeaseUse]) -> None:
        if uses:
            self._engine.drop([use.lease.name for use in uses])
            logger.info("dropped %s", " ".join(str(use.lease.dextid) for use in uses))

    def _shred(self, order: ShredOrder, task: RunningOrder) -> tuple[ReplicaReport, ...]:
        with self._claimed(order.extent, shredded=True, over=order.over) as disk:
            try:
                shred(disk, order.extent, task, self._rate)
            except BadBlocks as error:
                self._events.bad_blocks(disk, error.blocks)
                raise
        self._events.shredded(order.extent.dextid, order.eventid)
        return ()

    def _pull(self, order: PullOrder, task: RunningOrder) -> tuple[ReplicaReport, ...]:
        wanted = described(order.about).get(order.target.dextid)
        with self._claimed(order.target, wanted) as disk:
            pull(order.source, disk, order.target, task, self._rate)
        return ()

    @contextmanager
    def _claimed(
        self,
        extent: ExtentRef,
        wanted: Descriptor | None = None,
        *,
        shredded: bool = False,
        over: bool = True,
    ) -> Iterator[OpenDisk]:
        """Use the extent alone: drop the leases that overlap it, refuse new ones."""
        with self._leases:
            disk = self._admit_extent(extent, wanted, shredded=shredded, over=over)
            disk.super_extent.flush()
            span = _span(disk, extent)
            self._drop([use for use in self._engine.leases() if _leases_overlap(use.lease, span)])
            self._claims.append(extent)
        try:
            yield disk
        finally:
            with self._leases:
                self._claims.remove(extent)


def _is_older(use: LeaseUse, order: ExportOrder) -> bool:
    return use.lease.lvolid == order.lvolid and use.lease.epoch < order.epoch


def _is_evicted(use: LeaseUse, order: EvictOrder) -> bool:
    lease = use.lease
    named = not order.dextids or lease.dextid in order.dextids
    return lease.lvolid == order.lvolid and lease.epoch <= order.epoch and named


def _lease(disk: OpenDisk, extent: ExtentRef, order: ExportOrder) -> Lease:
    return Lease(
        name=export_name(extent.dextid, order.epoch, order.secret),
        path=disk.config.path,
        offset=extent.offset_gb * GB,
        size=extent.size_gb * GB,
        meta_offset=disk.super_extent.mark_offset(extent.offset_gb),
        dextid=extent.dextid,
        lvolid=order.lvolid,
        epoch=order.epoch,
    )


def _span(disk: OpenDisk, extent: ExtentRef) -> Lease:
    """Name a range of a disk, to compare leases with."""
    size, offset = extent.size_gb * GB, extent.offset_gb * GB
    return Lease("", disk.config.path, offset, size, 0, extent.dextid, 0, 0)


def _overlap(one: ExtentRef, other: ExtentRef) -> bool:
    return (
        one.disk == other.disk
        and one.offset_gb < other.offset_gb + other.size_gb
        and other.offset_gb < one.offset_gb + one.size_gb
    )


def _leases_overlap(one: Lease, other: Lease) -> bool:
    return (
        one.path == other.path
        and one.offset < other.offset + other.size
        and other.offset < one.offset + one.size
    )
