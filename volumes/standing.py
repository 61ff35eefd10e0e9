"""Where each copy stands: what a head says of the copies it uses, written to their rows."""

from itertools import groupby

from django.utils import timezone

from agents.protocol import CopyState, LegState
from volumes.copies import GOOD
from volumes.models import Leg


def record_copies(reported: tuple[CopyState, ...]) -> None:
    """Take over the copies' states as the head that uses them tells; in a transaction."""
    insync = [c.dextid for c in reported if c.state == LegState.INSYNC]
    legs = Leg.objects.filter(pk__in=insync)
    legs.filter(status=Leg.Status.NEEDSHRED).update(since=timezone.now())
    legs.move(Leg.Status.NEEDSHRED, Leg.Status.INSYNC)
    faulty = [c for c in reported if c.state == LegState.FAULTY]
    for why in {c.why for c in faulty}:
        leave_out([c.dextid for c in faulty if c.why == why], why or "io")


def record_closed(closed: tuple[CopyState, ...]) -> None:
    """Take over the states and event counts with which a head closed the copies.

    A copy that was being rebuilt and that the head calls in sync has just become so.
    """
    record_copies(closed)
    insync = [c for c in closed if c.state == LegState.INSYNC]
    for events, group in groupby(sorted(insync, key=lambda c: c.events), key=lambda c: c.events):
        legs = Leg.objects.filter(pk__in=[c.dextid for c in group])
        legs.update(events=events)
        legs.move(Leg.Status.SPARE, Leg.Status.INSYNC)


def leave_out(dextids: list[int], why: str) -> int:
    """Mark copies as behind, with the reason; in a transaction."""
    moved = 0
    for was in GOOD:
        legs = Leg.objects.filter(pk__in=dextids, status=was)
        legs.update(why=why, since=timezone.now())
        moved += legs.move(was, Leg.Status.FAULTY)
    return moved
