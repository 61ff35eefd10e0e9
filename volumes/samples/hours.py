"""Minutes become hours, and what is old is forgotten."""

from itertools import groupby
from operator import itemgetter

from django.db.models import Avg

from volumes.sample_models import ClusterSample, IoSample, Step
from volumes.samples import packing, recording

HOUR = 60
MINUTES_KEPT = 25 * HOUR
"""A day, and what is not yet an hour of it."""
HOURS_KEPT = 366 * 24 * HOUR
MEANS = ("capacity_gb", "used_gb", "free_gb", "rebuild_mib", "shred_mib", "scrub_mib")


def keep(minute: int) -> None:
    """Sum up the hours that are over and are not yet; forget what is older than it is kept."""
    minutes = ClusterSample.objects.filter(step=Step.MINUTE)
    seen = {at - at % HOUR for at in minutes.values_list("at", flat=True)}
    known = ClusterSample.objects.filter(step=Step.HOUR, at__gte=min(seen, default=minute))
    for hour in sorted(seen - {minute - minute % HOUR} - set(known.values_list("at", flat=True))):
        _sum_up(hour)
    for step, kept in ((Step.MINUTE, MINUTES_KEPT), (Step.HOUR, HOURS_KEPT)):
        for model in (IoSample, ClusterSample):
            model.objects.filter(step=step, at__lt=minute - kept).delete()


def _sum_up(hour: int) -> None:
    """Write the means of an hour, unless another worker has."""
    own = {"step": Step.MINUTE, "at__gte": hour, "at__lt": hour + HOUR}
    means = ClusterSample.objects.filter(**own).aggregate(**{name: Avg(name) for name in MEANS})
    rows = IoSample.objects.filter(**own).order_by("kind", "shard", "at")
    told = rows.values_list("kind", "shard", "data").iterator()
    made = [
        IoSample(
            kind=kind,
            shard=shard,
            step=Step.HOUR,
            at=hour,
            data=packing.mean(bytes(data) for _, _, data in minutes),
        )
        for (kind, shard), minutes in groupby(told, key=itemgetter(0, 1))
    ]
    recording.record(ClusterSample(step=Step.HOUR, at=hour, **means), made)
