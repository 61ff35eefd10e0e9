"""Where each copy stands: what a head says of the copies it uses, written to their rows."""

from itertools import groupby

from django.db.models import Count, Q
from django.utils import timezone

from agents.protocol import CopyState, LegState
from volumes.models import Leg, LogicalVolume, Mirror
from volumes.replicas.rows import EXPLICIT, GOOD

_SAID_LOST = Q(status=Leg.Status.FAULTY, why__in=EXPLICIT)


def record_copies(group: int, reported: tuple[CopyState, ...]) -> None:
    """Take over the copies' states as the head that uses them tells; in a transaction.

    The head knows best: what it has in sync is so, be it that only we thought otherwise. A copy
    that somebody said is lost keeps that mark, by which it is replaced; until then it serves.
    """
    told = _of_group(group, reported)
    insync = [c.dextid for c in told if c.state == LegState.INSYNC]
    legs = Leg.objects.filter(pk__in=insync)
    legs.filter(status=Leg.Status.NEEDSHRED).update(since=timezone.now())
    legs.move(Leg.Status.NEEDSHRED, Leg.Status.INSYNC)
    said_lost = dict(legs.filter(_SAID_LOST).values_list("pk", "why"))
    believe(insync)
    for dextid, why in said_lost.items():
        legs.filter(pk=dextid).update(why=why)
    faulty = [c for c in told if c.state == LegState.FAULTY]
    for why in {c.why for c in faulty}:
        leave_out([c.dextid for c in faulty if c.why == why], why or "io")
    _note_broken([c.dextid for c in faulty])


def _of_group(group: int, reported: tuple[CopyState, ...]) -> list[CopyState]:
    """Of copies of other groups a head's word counts for nothing."""
    mine = Q(mirror__volume=group) | Q(mirror__volume__origin=group)
    known = Leg.objects.filter(mine, pk__in=[c.dextid for c in reported])
    own = set(known.values_list("pk", flat=True))
    return [c for c in reported if c.dextid in own]


def _note_broken(faulty: list[int]) -> None:
    """A snapshot that a head has lost all of somewhere is broken; an origin never comes to that."""
    stores = Mirror.objects.filter(legs__in=faulty, volume__origin__isnull=False).distinct()
    good = Count("legs", filter=Q(legs__status__in=GOOD))
    lost = Mirror.objects.filter(pk__in=stores).annotate(good=good).filter(good=0)
    LogicalVolume.objects.filter(pk__in=lost.values("volume")).update(broken=True)


def record_closed(group: int, closed: tuple[CopyState, ...]) -> None:
    """Take over the states and event counts with which a head closed the copies."""
    insync = [c for c in _of_group(group, closed) if c.state == LegState.INSYNC]
    for events, alike in groupby(sorted(insync, key=lambda c: c.events), key=lambda c: c.events):
        dextids = [c.dextid for c in alike]
        legs = Leg.objects.filter(pk__in=dextids)
        legs.update(events=events)
        legs.exclude(_SAID_LOST).update(why="")
    record_copies(group, closed)


def believe(dextids: list[int]) -> None:
    """Count copies as good that were not: a head, or an operator, knows better; in a turn."""
    legs = Leg.objects.filter(pk__in=dextids)
    legs.move(Leg.Status.FAULTY, Leg.Status.SPARE)
    if legs.move(Leg.Status.SPARE, Leg.Status.INSYNC):
        legs.update(why="", since=timezone.now())


def leave_out(dextids: list[int], why: str) -> int:
    """Mark copies as behind, with the reason; in a transaction."""
    moved = 0
    for was in GOOD:
        legs = Leg.objects.filter(pk__in=dextids, status=was)
        legs.update(why=why, since=timezone.now())
        moved += legs.move(was, Leg.Status.FAULTY)
    return moved
