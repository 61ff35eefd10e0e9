"""How well volumes are protected: who has fewer good replicas than promised."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    When,
)
from django.db.models.functions import Coalesce

from volumes.models import Job, LogicalVolume, Mirror, Replica
from volumes.replicas.rows import GOOD, out_of_sync

MirrorRow = tuple[int, int, int, int]
"""A mirror, its volume, the replicas it should have, the good ones it has."""


@dataclass(frozen=True, slots=True)
class Weak:
    """A volume some part of which has fewer good replicas than promised."""

    volume_id: int
    redundancy: int
    fewest: int
    mirrors: int


def weak_volumes(among: Collection[int] | None = None) -> dict[int, Weak]:
    """Find the volumes below their redundancy, each with the fewest good replicas of any part.

    A broken snapshot is none of them: nothing is promised of it any more.
    """
    mirrors: dict[int, list[int]] = {}
    promised: dict[int, int] = {}
    for _, volume_id, redundancy, good in {*_degraded(among), *_short(among)}:
        mirrors.setdefault(volume_id, []).append(good)
        promised[volume_id] = redundancy
    return {
        volume_id: Weak(volume_id, promised[volume_id], min(counts), len(counts))
        for volume_id, counts in mirrors.items()
    }


def histogram(weak: dict[int, Weak]) -> dict[int, int]:
    """Count all volumes by the fewest good replicas that any part of them has, fewest first."""
    promised = (
        LogicalVolume.objects.filter(broken=False)
        .values_list("redundancy")
        .annotate(Count("pk"))
        .order_by()
    )
    counts = dict(promised)
    for volume in weak.values():
        counts[volume.redundancy] = counts.get(volume.redundancy, 0) - 1
        counts[volume.fewest] = counts.get(volume.fewest, 0) + 1
    return {replicas: counts[replicas] for replicas in sorted(counts) if counts[replicas] > 0}


def _degraded(among: Collection[int] | None) -> list[MirrorRow]:
    """Find the mirrors with a replica that is not good, by its index, and too few that are."""
    degraded = Replica.objects.filter(out_of_sync())
    promised = Replica.objects.filter(mirror__volume__broken=False)
    replicas = promised.filter(mirror__in=degraded.values("mirror"))
    if among is not None:
        replicas = promised.filter(mirror__volume__in=among)
    is_good = Case(When(status__in=GOOD, then=1), default=0, output_field=IntegerField())
    mirrors = replicas.order_by().values("mirror", "mirror__volume", "mirror__volume__redundancy")
    rows = mirrors.annotate(good=Sum(is_good)).values_list(
        "mirror", "mirror__volume", "mirror__volume__redundancy", "good"
    )
    return [row for row in rows if row[3] < row[2]]


def _short(among: Collection[int] | None) -> list[MirrorRow]:
    """Find the mirrors that lack a replica altogether.

    Of the whole cluster those are counted for which one is made anew: that is asked for with
    whatever takes a replica away, but in recovery mode. All others are, where their sum is wrong.
    """
    if among is not None:
        return _counted(Q(volume__in=among))
    rebuilds = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN)
    rebuilt = rebuilds.filter(mirror__isnull=False).values("mirror")
    return _counted(Q() if _is_one_missing(rebuilt) else Q(pk__in=rebuilt))


def _is_one_missing(rebuilt: QuerySet[Job, Any]) -> bool:
    """Tell whether mirrors lack replicas that are not being rebuilt: only these have too many."""
    broken = Mirror.objects.filter(volume__in=LogicalVolume.objects.filter(broken=True))
    # Nearly all are of neither: so these are summed up, and taken off the sums of all.
    besides = Mirror.objects.filter(pk__in=rebuilt.union(broken.values("pk")))
    of_besides: dict[str, int] = besides.annotate(there=Count("replicas")).aggregate(
        replicas=Sum("there", default=0), promised=Sum("volume__redundancy", default=0)
    )
    promised: int = Mirror.objects.aggregate(sum=Sum("volume__redundancy", default=0))["sum"]
    surplus = Replica.objects.count() - promised
    return surplus != of_besides["replicas"] - of_besides["promised"]


def _counted(which: Q) -> list[MirrorRow]:
    """Count the replicas of mirrors by an index, and tell which lack some."""
    own = Replica.objects.filter(mirror=OuterRef("pk")).order_by()
    there = own.values("mirror").annotate(count=Count("*")).values("count")
    mirrors = Mirror.objects.filter(which, volume__broken=False)
    mirrors = mirrors.annotate(there=Coalesce(Subquery(there), 0))
    short = mirrors.filter(there__lt=F("volume__redundancy")).order_by()
    good = Subquery(own.filter(status__in=GOOD).values("mirror").annotate(n=Count("*")).values("n"))
    rows = short.annotate(good=Coalesce(good, 0))
    return list(rows.values_list("pk", "volume", "volume__redundancy", "good"))


def only_there(place: Q, *, is_large: bool = False) -> list[tuple[int, str]]:
    """Name the volumes some part of which has good replicas on nothing but these replicas' places.

    `place` selects replicas, by server or by disk; of a large one all mirrors are looked at once.
    """
    good = Replica.objects.filter(status__in=GOOD)
    elsewhere = good.filter(mirror=OuterRef("mirror")).exclude(place)
    there = good.filter(place)
    if is_large:
        there = there.filter(mirror__in=_perhaps_alone(place))
    alone = there.exclude(Exists(elsewhere))
    named = alone.values_list("mirror__volume", "mirror__volume__name").distinct()
    return list(named.order_by("mirror__volume"))


def _perhaps_alone(place: Q) -> QuerySet[Mirror, Any]:
    """Select the mirrors with no replica elsewhere, by an index alone, or that are degraded."""
    elsewhere = Replica.objects.filter(mirror=OuterRef("pk")).exclude(place)
    inside = Mirror.objects.exclude(Exists(elsewhere)).order_by().values("pk")
    degraded = Replica.objects.filter(out_of_sync())
    return inside.union(degraded.order_by().values("mirror"))
