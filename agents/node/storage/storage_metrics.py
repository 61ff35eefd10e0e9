"""What a storage server tells of its disks: whether they work, who uses them, what was read."""

from collections import Counter
from collections.abc import Iterable, Iterator

from agents.engines.base import DataServerFigures, LeaseUse, StorageEngine
from agents.errors import AgentError
from agents.exposition import MetricSample, counter, gauge
from agents.node.node_metrics import RequestFamilies
from agents.node.storage.disks import Disks
from agents.node.storage.patrol import Patrol
from agents.ondisk import GB

REQUESTS = RequestFamilies("vastsky_storage", "a disk over the network", "pdskid", "path")
UP = gauge(
    "vastsky_storage_disk_up", "1 for a disk that works and is used, 0 if not.", "pdskid", "path"
)
CAPACITY = gauge("vastsky_storage_disk_capacity_bytes", "Size of a disk.", "pdskid", "path")
EXPORTS = gauge("vastsky_storage_exports", "Extents of a disk that are served.", "pdskid", "path")
CLIENTS = gauge("vastsky_storage_clients", "Connections to extents of a disk.", "pdskid", "path")
REFUSED = gauge("vastsky_storage_disks_refused", "Disks that are here and are not used.")
SERVES = gauge("vastsky_storage_data_server_up", "1 while the data server answers, 0 if not.")
CONNECTIONS = gauge("vastsky_storage_connections", "Connections to the data server.")
PATROLLED = counter(
    "vastsky_storage_patrol_bytes_total", "What the patrol read since the agent was started."
)
UNREADABLE = counter(
    "vastsky_storage_patrol_bad_blocks_total",
    "GB that the patrol could not read since the agent was started, each time it tried.",
)

Names = dict[str, tuple[int, str]]
"""The labels of disks that are in use, by their paths."""


def tell(disks: Disks, engine: StorageEngine, patrol: Patrol) -> Iterator[MetricSample]:
    """Tell of all disks and of the data server."""
    names: Names = {}
    for disk in disks:
        labels = disk.label.pdskid, disk.config.path
        yield UP.of(int(disk.in_use), *labels)
        yield CAPACITY.of(disk.label.capacity_gb * GB, *labels)
        if disk.in_use:
            names[disk.config.path] = labels
    yield REFUSED.of(len(disks.refused))
    yield PATROLLED.of(patrol.read_bytes)
    yield UNREADABLE.of(patrol.bad_blocks)
    try:
        leases, figures = engine.leases(), engine.figures()
    except AgentError:
        yield SERVES.of(0)
        return
    yield SERVES.of(1)
    yield from _uses(leases, names)
    if figures is not None:
        yield from _requests(figures, names)


def _uses(leases: Iterable[LeaseUse], names: Names) -> Iterator[MetricSample]:
    exports, clients = Counter[str](), Counter[str]()
    for use in leases:
        exports[use.lease.path] += 1
        clients[use.lease.path] += use.clients
    for path, labels in names.items():
        yield EXPORTS.of(exports[path], *labels)
        yield CLIENTS.of(clients[path], *labels)


def _requests(figures: DataServerFigures, names: Names) -> Iterator[MetricSample]:
    """What was served of a disk that is not in use any more is told no more."""
    yield CONNECTIONS.of(figures.connections)
    for disk in figures.disks:
        if disk.path in names:
            yield from REQUESTS.tell(disk.operations, *names[disk.path])
