"""Replicas that are lost or come back, told as events of their volumes: one a volume."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count, F, Q

from inventory import events
from inventory.events import Happening, Kind, Object, Severity
from volumes.models import Mirror
from volumes.replicas.rows import GOOD

_GOOD = Count("replicas", filter=Q(replicas__status__in=GOOD))


def tell_of_loss(mirrors: Counter[int], why: str) -> None:
    """Tell that so many replicas of mirrors, which were good, are so no more; in a transaction."""
    if mirrors:
        events.tell_all(Kind.DEGRADED, Object.VOLUME, _losses(mirrors, why))


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


def _losses(mirrors: Counter[int], why: str) -> Iterator[Happening]:
    fewest: dict[tuple[int, str], int] = {}
    lost: Counter[tuple[int, str]] = Counter()
    for volume, name, left, count in _touched(mirrors):
        fewest[volume, name] = min(left, fewest.get((volume, name), left))
        lost[volume, name] += count
    for (volume, name), left in fewest.items():
        severity = Severity.WARNING if left > 1 else Severity.ERROR
        cause = f"{_replicas(lost[volume, name])} good no more: {why}; fewest left: {left}"
        yield Happening(severity, volume, name, cause)


def _touched(mirrors: Counter[int]) -> Iterator[tuple[int, str, int, int]]:
    """Read of each mirror its volume, its good replicas now, and how many are told of."""
    rows = Mirror.objects.filter(id__among=mirrors).annotate(good=_GOOD)
    for mirror, volume, name, good in rows.values_list("pk", "volume", "volume__name", "good"):
        yield volume, name, good, mirrors[mirror]


def _replicas(count: int) -> str:
    return "1 replica is" if count == 1 else f"{count} replicas are"
