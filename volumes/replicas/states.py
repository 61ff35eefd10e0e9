"""Where each replica stands: what a head says of the replicas it uses, written to their rows."""

from collections import Counter
from itertools import groupby

from django.db.models import Count, Q

from agents.protocol import LOST, MEANINGS, Reason, ReplicaReport, ReplicaState
from inventory import clock
from volumes.models import Mirror, Replica
from volumes.replicas import replica_events
from volumes.replicas.broken import break_snapshots
from volumes.replicas.rows import GOOD, out_of_sync

_SAID_LOST = Q(status=Replica.Status.FAULTY, reason__in=LOST)


def record_replicas(group: int, reported: tuple[ReplicaReport, ...]) -> None:
    """Take over the replicas' states as the head that uses them tells; in a transaction.

    The head knows best: what it has in sync is so, be it that only we thought otherwise. A replica
    that somebody said is lost keeps that mark, by which it is replaced; until then it serves.
    """
    told = _of_group(group, reported)
    insync = [c.dextid for c in told if c.state == ReplicaState.INSYNC]
    replicas = Replica.objects.filter(pk__in=insync)
    replicas.move(Replica.Status.NEEDSHRED, Replica.Status.INSYNC, since=clock.now())
    said_lost = dict(replicas.filter(_SAID_LOST).values_list("pk", "reason"))
    mark_in_sync(insync)
    for dextid, reason in said_lost.items():
        replicas.filter(pk=dextid).update(reason=reason)
    faulty = [c for c in told if c.state == ReplicaState.FAULTY]
    for reason in {c.reason for c in faulty}:
        left = [c.dextid for c in faulty if c.reason == reason]
        mark_out_of_sync(left, reason or Reason.IO)
    _note_broken([c.dextid for c in faulty])


def _of_group(group: int, reported: tuple[ReplicaReport, ...]) -> list[ReplicaReport]:
    """Of replicas of other groups a head's word counts for nothing."""
    mine = Q(mirror__volume=group) | Q(mirror__volume__origin=group)
    known = Replica.objects.filter(mine, pk__in=[c.dextid for c in reported])
    own = set(known.values_list("pk", flat=True))
    return [c for c in reported if c.dextid in own]


def _note_broken(faulty: list[int]) -> None:
    """A snapshot that a head has lost all of somewhere is broken; an origin never comes to that."""
    stores = Mirror.objects.filter(replicas__in=faulty, volume__origin__isnull=False).distinct()
    good = Count("replicas", filter=Q(replicas__status__in=GOOD))
    lost = Mirror.objects.filter(pk__in=stores).annotate(good=good).filter(good=0)
    break_snapshots(Q(pk__in=lost.values("volume")), "its head lost all replicas of its store")


def record_closed(group: int, closed: tuple[ReplicaReport, ...]) -> None:
    """Take over the states and event counts with which a head closed the replicas."""
    insync = [c for c in _of_group(group, closed) if c.state == ReplicaState.INSYNC]
    for events, alike in groupby(sorted(insync, key=lambda c: c.events), key=lambda c: c.events):
        dextids = [c.dextid for c in alike]
        replicas = Replica.objects.filter(pk__in=dextids)
        replicas.update(events=events)
        replicas.exclude(_SAID_LOST).update(reason=Reason.NONE)
    record_replicas(group, closed)


def mark_in_sync(dextids: list[int]) -> None:
    """Count replicas as good that were not: a head, or an operator, knows better; under the write
    lock."""
    replicas = Replica.objects.filter(pk__in=dextids)
    news = replicas.filter(out_of_sync())
    mirrors = Counter(news.values_list("mirror", flat=True))
    replicas.move(Replica.Status.FAULTY, Replica.Status.SPARE)
    replicas.move(
        Replica.Status.SPARE, Replica.Status.INSYNC, reason=Reason.NONE, since=clock.now()
    )
    replica_events.tell_of_return(mirrors)


def mark_out_of_sync(dextids: list[int], reason: Reason, *, is_loss: bool = True) -> int:
    """Mark replicas as behind, with the reason; in a transaction.

    It is no loss where another one has just taken the place of each.
    """
    good = Replica.objects.filter(extent__id__among=dextids, status__in=GOOD)
    lost, now = list(good.values_list("pk", flat=True)), clock.now()
    replicas = Replica.objects.filter(extent__id__among=lost)
    left = sum(replicas.move(was, Replica.Status.FAULTY, reason=reason, since=now) for was in GOOD)
    if is_loss and lost:
        replica_events.tell_of_loss(lost, MEANINGS.get(reason, str(reason)))
    return left
