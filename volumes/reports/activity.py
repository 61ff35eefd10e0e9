"""What is being done to volumes now: replicas are copied or compared, or wait for their turn."""

from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from volumes.models import Job, LogicalVolume


class Activity(StrEnum):
    """What is done to some part of a volume; a volume may be in several of these."""

    RECOVERING = "recovering"
    TO_RECOVER = "to recover"
    SCRUBBING = "scrubbing"


OPEN = Q(state=Job.State.OPEN, mirror__isnull=False)
WHICH = {
    Activity.RECOVERING: OPEN & Q(kind=Job.Kind.REBUILD, ordered=True),
    Activity.TO_RECOVER: OPEN & Q(kind=Job.Kind.REBUILD, ordered=False),
    Activity.SCRUBBING: OPEN & Q(kind=Job.Kind.SCRUB, ordered=True),
}
KINDS = {
    (Job.Kind.REBUILD, True): Activity.RECOVERING,
    (Job.Kind.REBUILD, False): Activity.TO_RECOVER,
    (Job.Kind.SCRUB, True): Activity.SCRUBBING,
}


def of_volumes(volumes: Collection[int]) -> dict[int, list[Activity]]:
    """Tell for some volumes what is done to them; in one query."""
    jobs = _jobs().filter(mirror__volume__in=volumes)
    found: dict[int, set[Activity]] = {}
    rows = jobs.values_list("mirror__volume", "kind", "ordered").distinct()
    for volume, kind, ordered in rows.order_by():
        found.setdefault(volume, set()).add(KINDS[Job.Kind(kind), ordered])
    return {volume: _told(activities) for volume, activities in found.items()}


def count_volumes() -> Mapping[Activity, int]:
    """Count the volumes by what is done to them; in one query."""
    sums = _jobs().order_by().values_list("kind", "ordered")
    counted = sums.annotate(count=Count("mirror__volume", distinct=True))
    return Counter({KINDS[Job.Kind(kind), ordered]: count for kind, ordered, count in counted})


def choose(volumes: QuerySet[LogicalVolume], activity: Activity) -> QuerySet[LogicalVolume]:
    """Choose the volumes to which this is done."""
    jobs = Job.objects.filter(WHICH[activity], mirror__volume=OuterRef("pk"))
    return volumes.filter(Exists(jobs))


def _jobs() -> QuerySet[Job]:
    return Job.objects.filter(
        WHICH[Activity.RECOVERING] | WHICH[Activity.TO_RECOVER] | WHICH[Activity.SCRUBBING]
    )


def _told(activities: set[Activity]) -> list[Activity]:
    """Name them in their order; what waits is not told beside what runs."""
    if Activity.RECOVERING in activities:
        activities = activities - {Activity.TO_RECOVER}
    return [activity for activity in Activity if activity in activities]
