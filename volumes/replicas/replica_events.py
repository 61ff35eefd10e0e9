"""Replicas that are lost or come back, told as events of their volumes: one a volume."""

from collections import Counter
from collections.abc import Collection, Iterator

from django.db.models import Case, CharField, Count, F, Min, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from inventory import events
from inventory.events import Happening, Kind, Object, Severity
from volumes.models import Mirror, Replica
from volumes.replicas.rows import GOOD

_GOOD = Count("replicas", filter=Q(replicas__status__in=GOOD))


def tell_of_loss(dextids: Collection[int], why: str) -> None:
    """Tell of replicas that they were good and are so no more; in a transaction."""
    good = Replica.objects.filter(mirror=OuterRef("mirror"), status__in=GOOD).order_by()
    left = good.values("mirror").annotate(count=Count("pk")).values("count")
    lost = Replica.objects.filter(extent__id__among=dextids).order_by()
    of_volumes = lost.values("mirror__volume", "mirror__volume__name").annotate(
        lost=Cast(Count("pk"), CharField()),
        left=Min(Coalesce(Subquery(left), 0)),
    )
    severity = Case(
        When(left__gt=1, then=Value(int(Severity.WARNING))), default=Value(int(Severity.ERROR))
    )
    replicas = Case(
        When(lost="1", then=Value("1 replica is")), default=Concat("lost", Value(" replicas are"))
    )
    cause = Concat(
        *(replicas, Value(f" good no more: {why}; fewest left: "), Cast("left", CharField()))
    )
    what = of_volumes.order_by("mirror__volume").values_list(
        severity, "mirror__volume", "mirror__volume__name", cause
    )
    events.tell_from(Kind.DEGRADED, Object.VOLUME, what)


def tell_of_return(mirrors: Counter[int]) -> None:
    """Tell that so many replicas of mirrors, which were not good, are so again; in a
    transaction."""
    if not mirrors:
        return
    told: Counter[tuple[int, str]] = Counter()
    for volume, name, _, count in _touched(mirrors):
        told[volume, name] += count
    good = Mirror.objects.filter(volume__in=[pk for pk, _ in told]).annotate(good=_GOOD)
    weak = set(good.filter(good__lt=F("volume__redundancy")).values_list("volume", flat=True))
    healed: list[Happening] = []
    back: list[Happening] = []
    for (volume, name), count in told.items():
        cause = f"{_replicas(count)} good again"
        (back if volume in weak else healed).append(Happening(Severity.INFO, volume, name, cause))
    events.tell_all(Kind.REPLICAS_BACK, Object.VOLUME, back)
    events.tell_all(Kind.HEALED, Object.VOLUME, healed)


def _touched(mirrors: Counter[int]) -> Iterator[tuple[int, str, int, int]]:
    """Read of each mirror its volume, its good replicas now, and how many are told of."""
    rows = Mirror.objects.filter(id__among=mirrors).annotate(good=_GOOD)
    for mirror, volume, name, good in rows.values_list("pk", "volume", "volume__name", "good"):
        yield volume, name, good, mirrors[mirror]


def _replicas(count: int) -> str:
    return "1 replica is" if count == 1 else f"{count} replicas are"
