"""How volumes are: how well protected, where attached, what is done to them."""

from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Min, Q, Sum

from agents.exposition import MetricSample, gauge
from agents.ondisk import GB
from volumes.models import Attachment, LogicalVolume, Mirror
from volumes.reports import activity, protection

PROTECTED = gauge(
    "vastsky_volumes",
    "Volumes and snapshots by the good replicas of their weakest part and by those promised.",
    "good_replicas",
    "promised",
)
GROUPS = gauge(
    "vastsky_groups", "Volumes, each with its snapshots, by the state of their attachment.", "state"
)
WAITING = gauge("vastsky_volumes_waiting", "Volumes that wait for storage.")
BROKEN = gauge("vastsky_snapshots_broken", "Snapshots that are broken.")
PROMISED = gauge(
    "vastsky_volumes_capacity_bytes",
    "What users were promised: the sizes of all volumes.",
)
ACTIVE = gauge("vastsky_volumes_active", "Volumes by what is done to them now.", "activity")
SCRUBBED = gauge(
    "vastsky_scrub_oldest_timestamp_seconds",
    "When the mirror that waits longest was last compared to its end, in Unix time.",
)
ONE = gauge(
    "vastsky_volume_good_replicas",
    "Good replicas of the weakest part of one volume (VASTSKY_METRICS_VOLUMES).",
    "lvolid",
    "volume",
)
ONE_PROMISED = gauge(
    "vastsky_volume_promised_replicas",
    "Replicas that were promised for one volume (VASTSKY_METRICS_VOLUMES).",
    "lvolid",
    "volume",
)
ONE_SIZE = gauge(
    "vastsky_volume_capacity_bytes",
    "Size of one volume, in bytes (VASTSKY_METRICS_VOLUMES).",
    "lvolid",
    "volume",
)
UNTOLD = gauge(
    "vastsky_volumes_untold", "Volumes that are beyond VASTSKY_METRICS_VOLUMES, where it is not 0."
)

Promises = dict[int, int]
"""How many volumes were promised so many replicas."""


def tell(weak: dict[int, protection.Weak]) -> Iterator[MetricSample]:
    """Count volumes; in a fixed number of queries."""
    volumes = LogicalVolume.objects.order_by()
    promised = dict(volumes.filter(broken=False).values_list("redundancy").annotate(Count("pk")))
    yield from _protected(promised, weak)
    yield from _groups()
    for one, count in activity.count_volumes().items():
        yield ACTIVE.of(count, one.name.lower())
    if oldest := Mirror.objects.aggregate(at=Min("scrubbed"))["at"]:
        yield SCRUBBED.of(oldest.timestamp())
    if most := settings.VASTSKY_METRICS_VOLUMES:
        yield from _one_by_one(weak, most)


def _protected(promised: Promises, weak: dict[int, protection.Weak]) -> Iterator[MetricSample]:
    counts = Counter({(count, count): volumes for count, volumes in promised.items()})
    for volume in weak.values():
        counts[volume.redundancy, volume.redundancy] -= 1
        counts[volume.fewest, volume.redundancy] += 1
    for (good, wanted), count in sorted(counts.items()):
        # One that was made, or deleted, between two questions counts for nothing.
        yield PROTECTED.of(max(count, 0), good, wanted)


def _groups() -> Iterator[MetricSample]:
    counts = dict(Attachment.objects.order_by().values_list("state").annotate(Count("pk")))
    is_origin = Q(origin=None)
    sums = LogicalVolume.objects.aggregate(
        groups=Count("pk", filter=is_origin),
        waiting=Count("waiting_since"),
        broken=Count("pk", filter=Q(broken=True)),
        gb=Sum("capacity_gb", filter=is_origin),
    )
    yield GROUPS.of(max(sums["groups"] - sum(counts.values()), 0), "detached")
    for state in Attachment.State:
        yield GROUPS.of(counts.get(state, 0), state)
    yield WAITING.of(sums["waiting"])
    yield BROKEN.of(sums["broken"])
    yield PROMISED.of((sums["gb"] or 0) * GB)


def _one_by_one(weak: dict[int, protection.Weak], most: int) -> Iterator[MetricSample]:
    """Tell of the oldest volumes, and how many are left out."""
    rows = LogicalVolume.objects.filter(broken=False).order_by("pk")
    told = list(rows.values_list("pk", "name", "redundancy", "capacity_gb")[:most])
    for lvolid, name, redundancy, gb in told:
        good = weak[lvolid].fewest if lvolid in weak else redundancy
        yield ONE.of(good, lvolid, name)
        yield ONE_PROMISED.of(redundancy, lvolid, name)
        yield ONE_SIZE.of(gb * GB, lvolid, name)
    yield UNTOLD.of(rows.count() - len(told))
