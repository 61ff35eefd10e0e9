"""How the space of all disks is used."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q, Sum

from agents.exposition import MetricSample, gauge
from agents.ondisk import GB
from inventory.models import Extent
from volumes.models import Job, Orphan
from volumes.reports import capacity

CAPACITY = gauge(
    "vastsky_capacity_bytes",
    "Space of all disks by what it is used for, in bytes; the sum is all there is.",
    "use",
)


def tell() -> Iterator[MetricSample]:
    """Sum up; in a fixed number of queries."""
    usage, resting, quarantined = capacity.of_cluster(), _in_maintenance(), _in_quarantine()
    for use, gb in (
        ("used", usage.used),
        ("free", usage.free),
        ("maintenance", min(resting, usage.resting)),
        ("resting", max(usage.resting - resting, 0)),
        ("shredding", usage.shredding),
        ("quarantine", min(quarantined, usage.bad)),
        ("bad", max(usage.bad - quarantined, 0)),
        ("label", usage.label),
    ):
        yield CAPACITY.of(gb * GB, use)


def _in_maintenance() -> int:
    """Sum up what is free on servers and disks that are left alone for a while."""
    care = Job.objects.filter(kind=Job.Kind.MAINTENANCE, state=Job.State.OPEN)
    of_it = care.filter(Q(disk=OuterRef("disk")) | Q(server=OuterRef("disk__server")))
    free = Extent.objects.filter(Exists(of_it), status=Extent.Status.FREE)
    return free.aggregate(gb=Sum("size_gb"))["gb"] or 0


def _in_quarantine() -> int:
    """Sum up what recovery could not decide: nobody uses or zeroes it."""
    kept = Orphan.objects.filter(
        kind=Orphan.Kind.REPLICA, disk=OuterRef("disk__disk_uuid"), at_gb=OuterRef("offset_gb")
    )
    bad = Extent.objects.filter(Exists(kept), status=Extent.Status.FAULTY)
    return bad.aggregate(gb=Sum("size_gb"))["gb"] or 0
