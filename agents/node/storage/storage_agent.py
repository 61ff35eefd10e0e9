"""A storage agent: the parts that only a storage server has, and how they hang together."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from agents.boot import boot_id
from agents.engines.base import StorageEngine
from agents.errors import AgentError
from agents.exposition import MetricSample
from agents.node import io_lines, node_metrics
from agents.node.config import EngineKind, StorageConfig
from agents.node.daemon import AgentCore
from agents.node.methods import Method, Nothing
from agents.node.registration import STORAGE, Registration
from agents.node.storage import storage_metrics
from agents.node.storage.checksum_answers import ChecksumAnswers
from agents.node.storage.disk_registration import register_disks
from agents.node.storage.disk_watch import DiskWatch
from agents.node.storage.disks import Disks
from agents.node.storage.export_states import ExportStates
from agents.node.storage.labelled_disk import OpenDisk
from agents.node.storage.occupancy import content, epochs
from agents.node.storage.patrol import Patrol
from agents.node.storage.smart import SmartWatch
from agents.node.storage.storage_orders import Events, StorageOrders
from agents.protocol import (
    GONE,
    ChecksumQuestion,
    DiskContent,
    DiskQuestion,
    DiskState,
    EvictOrder,
    ExportOrder,
    MendOrder,
    NodeFigures,
    PullOrder,
    Reason,
    ShredOrder,
    StorageState,
    Target,
)
from agents.rate_limit import RateLimit

logger = logging.getLogger(__name__)


class StorageRole:
    """Makes an agent a storage server."""

    def __init__(
        self,
        config: StorageConfig,
        engine: StorageEngine,
        parts: AgentCore,
        read_again: Callable[[], StorageConfig],
    ) -> None:
        self._config = config
        self._engine = engine
        self._parts = parts
        self._read_again = read_again
        self._instance = engine.ensure_running()
        self._disks = Disks(parts.store)
        self._exports = ExportStates(self._disks)
        self._opening = threading.Lock()
        self._looked_at: dict[str, int] = {}
        outbox = parts.outbox
        self._orders = StorageOrders(
            engine=engine,
            disks=self._disks,
            fences=parts.fences,
            orders=parts.orders,
            events=Events(outbox.shredded, self._tell_bad_blocks),
            shred_rate=RateLimit(config.shred_mib_per_s),
        )
        self._checksums = ChecksumAnswers(
            self._disks, parts.orders.admit, RateLimit(config.scrub_mib_per_s)
        )
        self._watch = DiskWatch(self._disks, self._tell_vanished, self._reopen)
        self._patrol = Patrol(
            self._disks, self._tell_bad_blocks, RateLimit(config.patrol_mib_per_s)
        )
        self._smart = SmartWatch(self._disks)
        self._registration = Registration(
            kind=STORAGE,
            config=config,
            manager=parts.manager,
            store=parts.store,
            admit=parts.orders.admit,
            boot_id=self._boot_id,
            extra={"data_port": config.data_port, "iscsi_port": _iscsi_port(config)},
            prepare=self._open_disks,
            complete=lambda number: register_disks(parts.manager, self._disks, number),
        )

    @property
    def methods(self) -> dict[str, Method]:
        """Name what only a storage server can be told."""
        return {
            "vastsky.state": Method(Nothing, self._state),
            "vastsky.figures": Method(Nothing, self._figures),
            "vastsky.export": Method(ExportOrder, self._orders.export),
            "vastsky.evict": Method(EvictOrder, self._orders.evict),
            "vastsky.shred": Method(ShredOrder, self._orders.shred),
            "vastsky.pull": Method(PullOrder, self._orders.pull),
            "vastsky.checksums": Method(ChecksumQuestion, self._checksums.answer),
            "vastsky.mend": Method(MendOrder, self._orders.mend),
            "vastsky.content": Method(DiskQuestion, self._content),
        }

    def start(self) -> None:
        """Open the disks if the cluster is known, go on with what was begun, and register."""
        if self._registration.cluster:
            self._open_disks(self._registration.cluster)
        self._orders.resume(self._parts.journal)
        self._registration.start()
        self._patrol.start()
        self._smart.start()

    def metrics(self) -> Iterator[MetricSample]:
        """Tell a monitoring system what it does."""
        number, parts = self._registration.server_id, self._parts
        yield from node_metrics.tell("storage", number, parts.orders, parts.outbox, parts.identity)
        yield from storage_metrics.tell(self._disks, self._engine, self._patrol)

    def tick(self) -> None:
        """Watch the data server and the disks."""
        instance = self._engine.ensure_running()
        if instance != self._instance:
            logger.warning("the data server had died; a new one runs and exports nothing")
            self._instance = instance
            self._registration.request()
        self._watch.look()

    def reload(self) -> None:
        """Take in disks that were added to the configuration file."""
        self._config = self._read_again()
        self._registration.request()

    def _boot_id(self) -> str:
        return f"{boot_id()}:{self._instance}"

    def _open_disks(self, cluster: str) -> None:
        with self._opening:
            for disk in self._disks.open_all(self._config.disks, cluster):
                # It may come from another server, whose memory of what is over does not.
                self._parts.fences.fence_all_below(epochs(disk.super_extent))

    def _reopen(self) -> None:
        """Open disks that failed or were missing, if they work now, and tell the manager."""
        if not self._registration.cluster:
            return
        before = self._working()
        self._open_disks(self._registration.cluster)
        if self._working() > before:
            self._registration.request()

    def _working(self) -> int:
        return sum(not disk.error for disk in self._disks)

    def _tell_vanished(self, disk: OpenDisk) -> None:
        if disk.registered:
            words = GONE if disk.gone else Reason.IO.value
            self._parts.outbox.failure(Target.DISK, disk.label.pdskid, words)

    def _tell_bad_blocks(self, disk: OpenDisk, blocks: list[int]) -> None:
        # One that is not registered may bear the number of another, of which it is a copy.
        if disk.registered:
            self._parts.outbox.bad_blocks(disk.label.pdskid, blocks)

    def _state(self, _: Nothing) -> StorageState:
        self._registration.was_asked()
        return StorageState(
            self._registration.server_id,
            self._boot_id(),
            self._registration.cluster,
            self._parts.fences.incarnation,
            self._config.data_port,
            tuple(self._disk_state(disk) for disk in self._disks if not disk.refusal),
            self._exports.tell(self._engine.leases()),
            replace(self._parts.seen(), extent=self._highest_extent()),
            self._disks.refused,
            self._parts.node_uuid,
        )

    def _figures(self, _: Nothing) -> NodeFigures:
        """Tell of the disks that the manager knows; a data server that is older counts nothing."""
        counted = self._engine.figures()
        numbers = {d.config.path: d.label.pdskid for d in self._disks if d.in_use and d.registered}
        told = (
            io_lines.line(numbers[one.path], one.operations)
            for one in (counted.disks if counted else ())
            if one.path in numbers
        )
        return NodeFigures(tuple(told))

    def _disk_state(self, disk: OpenDisk) -> DiskState:
        return replace(disk.state(), smart=self._smart.of(disk.uuid))

    def _highest_extent(self) -> int:
        """Tell the highest number of an extent that was ever described on a disk of ours."""
        for disk in self._disks:
            if disk.uuid not in self._looked_at and disk.in_use:
                told = disk.super_extent.descriptors(0, disk.label.capacity_gb - 1)
                self._looked_at[disk.uuid] = max((one.dextid for _, one in told), default=0)
        return max(self._orders.highest_extent, *self._looked_at.values(), 0)

    def _content(self, question: DiskQuestion) -> DiskContent:
        """Tell a page of what lies on a disk."""
        if question.first_gb < 0:
            raise AgentError(errno.EINVAL, f"GB {question.first_gb} is on no disk")
        place = self._disks.usable(question.disk).super_extent
        found, next_gb = content(place, question.first_gb)
        return DiskContent(tuple(found), next_gb)


def _iscsi_port(config: StorageConfig) -> int:
    """Tell where this machine's kernel exports extents; 0 where it does not."""
    return config.iscsi_port if config.engine is EngineKind.KERNEL else 0
