"""Replicas that are lost or come back, told as events of their volumes: one a volume."""

from collections import defaultdict
from collections.abc import Collection, Iterator

from django.db.models import Count, F, Q

from inventory import events
from inventory.events import Happening, Kind, Object, Severity
from volumes.models import Mirror
from volumes.replicas.rows import GOOD

_GOOD = Count("replicas", filter=Q(replicas__status__in=GOOD), distinct=True)


def tell_of_loss(dextids: Collection[int], why: str) -> None:
    """Tell that these replicas, which were good, are so no more; in a transaction."""
    if dextids:
        events.tell_all(Kind.DEGRADED, Object.VOLUME, _losses(dextids, why))


def tell_of_return(dextids: Collection[int]) -> None:
    """Tell that these replicas, which were not good, are so again; in a transaction."""
    if not dextids:
        return
    told: dict[tuple[int, str], int] = defaultdict(int)
    for volume, name, _, count in _touched(dextids):
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


def _losses(dextids: Collection[int], why: str) -> Iterator[Happening]:
    fewest: dict[tuple[int, str], int] = {}
    lost: dict[tuple[int, str], int] = defaultdict(int)
    for volume, name, left, count in _touched(dextids):
        fewest[volume, name] = min(left, fewest.get((volume, name), left))
        lost[volume, name] += count
    for (volume, name), left in fewest.items():
        severity = Severity.WARNING if left > 1 else Severity.ERROR
        cause = f"{_replicas(lost[volume, name])} good no more: {why}; fewest left: {left}"
        yield Happening(severity, volume, name, cause)


def _touched(dextids: Collection[int]) -> Iterator[tuple[int, str, int, int]]:
    """Read of each mirror with such replicas: its volume, its good replicas, and how many such."""
    such = Count("replicas", filter=Q(replicas__in=dextids), distinct=True)
    mirrors = Mirror.objects.filter(pk__in=_mirrors(dextids)).annotate(good=_GOOD, such=such)
    return mirrors.values_list("volume", "volume__name", "good", "such").iterator()


def _mirrors(dextids: Collection[int]) -> list[int]:
    which = Mirror.objects.filter(replicas__in=dextids)
    return list(which.values_list("pk", flat=True).distinct())


def _replicas(count: int) -> str:
    return "1 replica is" if count == 1 else f"{count} replicas are"
