"""What a head tells of its volumes: what their users asked, and how their replicas are."""

from collections import Counter
from collections.abc import Iterable, Iterator

from agents.engines.base import DeviceFigures
from agents.exposition import MetricSample, gauge
from agents.node.node_metrics import RequestFamilies
from agents.ondisk import MIB
from agents.protocol import GroupState, ReplicaState

REQUESTS = RequestFamilies("vastsky_head", "a volume on this head", "lvolid")
ALIVE = gauge("vastsky_head_group_up", "1 for a group whose process lives, 0 if not.", "lvolid")
CLIENTS = gauge("vastsky_head_volume_clients", "Who has a volume open.", "lvolid")
WAITING = gauge(
    "vastsky_head_volume_waiting_seconds",
    "For how long no good replica of some part of a volume could be reached.",
    "lvolid",
)
HELD = gauge(
    "vastsky_head_snapshot_held_bytes",
    "What a snapshot keeps of its origin's former content.",
    "lvolid",
)
BROKEN = gauge("vastsky_head_snapshot_broken", "1 for a snapshot that is broken.", "lvolid")
REPLICAS = gauge(
    "vastsky_head_replicas",
    "Replicas of a group as its head sees them.",
    "lvolid",
    "state",
)
RESYNCED = gauge(
    "vastsky_head_resync_done_bytes", "How far the rebuilds of a group are together.", "lvolid"
)
RESYNC = gauge(
    "vastsky_head_resync_size_bytes", "How much the rebuilds of a group are together.", "lvolid"
)


def tell(groups: Iterable[GroupState], figures: Iterable[DeviceFigures]) -> Iterator[MetricSample]:
    """Tell of all groups."""
    for group in groups:
        yield from _group(group)
    for device in figures:
        yield from REQUESTS.tell(device.operations, device.lvolid)


def _group(group: GroupState) -> Iterator[MetricSample]:
    yield ALIVE.of(int(group.alive), group.lvolid)
    for device in group.devices:
        yield CLIENTS.of(device.clients, device.lvolid)
        yield WAITING.of(device.waiting, device.lvolid)
        if device.lvolid != group.lvolid:
            yield HELD.of(device.cow_mib * MIB, device.lvolid)
            yield BROKEN.of(int(device.broken), device.lvolid)
    states = Counter(replica.state for replica in group.replicas)
    for state in ReplicaState:
        yield REPLICAS.of(states[state], group.lvolid, state)
    building = [one for one in group.replicas if one.state is ReplicaState.SPARE]
    yield RESYNCED.of(sum(one.done_mib for one in building) * MIB, group.lvolid)
    yield RESYNC.of(sum(one.total_mib for one in building) * MIB, group.lvolid)
