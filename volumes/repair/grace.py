"""How long replicas have been out of reach, and what is not to be replaced by itself for now."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Exists, F, Max, OuterRef, Q, When
from django.db.models.functions import Coalesce

from agents.protocol import Reason
from inventory import clock
from inventory.models import ALIVE, Priority, StorageServer
from volumes.models import Job, Replica
from volumes.replicas.rows import ReplicaRow, out_of_sync

OUT = (Priority.OFFLINE, Priority.FAULTY)
APART = timedelta(seconds=1.5)
"""By so much two processes may differ in the cluster's time."""


def silences(replicas: Iterable[ReplicaRow]) -> dict[int, float]:
    """Tell for how many seconds servers or disks of replicas have been silent or out, else 0.

    A server is silent, too, from when a head lost the connection to it until it answers us again.
    """
    now = clock.now()
    found = Replica.objects.filter(pk__in=[replica.dextid for replica in replicas])
    lost = Case(When(_is_cut_off(F("server__last_answer")), then="since"))
    rows = found.values_list(
        "pk",
        Coalesce("server__silent_since", lost),
        "server__priority",
        "server__priority_since",
        "extent__disk__priority",
        "extent__disk__priority_since",
    )
    return {
        dextid: max((now - since).total_seconds() for since in _absent_since(now, silent, places))
        for dextid, silent, *places in rows
    }


def _absent_since(now: datetime, silent: datetime | None, places: list[Any]) -> Iterator[datetime]:
    yield silent or now
    for priority, since in zip(places[::2], places[1::2], strict=True):
        if priority in OUT:
            yield since


def held(replicas: Iterable[ReplicaRow]) -> dict[int, str]:
    """Say which replicas are left alone for now, and why: maintenance, or a paused evacuation."""
    resting = Job.objects.filter(
        Q(kind=Job.Kind.MAINTENANCE) | Q(kind=Job.Kind.EVACUATE, paused=True),
        state=Job.State.OPEN,
    )
    why: dict[tuple[int | None, int | None], str] = {
        (server, disk): f"{kind} of {subject}" + (" is paused" if kind == "evacuate" else "")
        for server, disk, kind, subject in resting.values_list("server", "disk", "kind", "subject")
    }
    return {
        replica.dextid: why[place]
        for replica in replicas
        for place in [(replica.server, None), (None, replica.disk)]
        if place in why
    }


def brake() -> str:
    """Say why nothing is replaced without a person now: too many servers vanished together; or "".

    A storage server has vanished from the first unanswered question on, or from the moment when a
    head lost its connection to it, until it answers again. One that holds no replica any more is
    not waited for.
    """
    cut_off = _cut_off_since()
    known = StorageServer.objects.exclude(priority=Priority.HALT).annotate(used=_holds_replicas())
    rows = list(known.values_list("pk", "priority", "silent_since", "last_answer", "used"))
    away = [
        used
        for pk, priority, silent, answered, used in rows
        if silent is not None
        or (priority in ALIVE and pk in cut_off and (not answered or cut_off[pk] > answered))
    ]
    vanished = sum(away)
    if vanished < 2 or vanished * 100 <= settings.VASTSKY_BRAKE_PERCENT * len(rows):  # noqa: PLR2004 - together
        return ""
    count = f"{len(away)} of {len(rows)} storage servers"
    return f"{count} vanished together: nothing is replaced by itself"


def unheard(replica: ReplicaRow) -> str:
    """Say which servers have not been heard of since a replica was lost; "" once all have.

    Until then nobody knows how many vanished with its server.
    """
    times = Replica.objects.values_list("server__silent_since", "since")
    silent_since, lost_since = times.get(pk=replica.dextid)
    since = silent_since or lost_since + APART
    others = StorageServer.objects.filter(priority__in=ALIVE, silent_since=None)
    waiting = others.exclude(pk=replica.server).filter(
        Q(last_answer__lt=since) | Q(last_answer=None)
    )
    names = [str(server) for server in waiting[:3]]
    return f"{', '.join(names)} must answer first: it may have vanished, too" if names else ""


def _holds_replicas() -> Exists:
    return Exists(Replica.objects.filter(server=OuterRef("pk")))


def _cut_off_since() -> dict[int, datetime]:
    """Tell when a head lost its last connection to each server, of those to which one did."""
    degraded = Replica.objects.filter(out_of_sync())
    lost = degraded.filter(status=Replica.Status.FAULTY, reason=Reason.CONNECTION)
    # An expression: by the index of servers, all replicas of each would be read to group them.
    by_server = lost.order_by().values_list(F("server_id") + 0)
    return dict(by_server.annotate(Max("since")))


def _is_cut_off(heard: F) -> Q:
    """Match replicas to which a head lost the connection after their server's last answer."""
    after = Q(since__gt=heard) | Q(server__last_answer=None)
    return after & Q(status=Replica.Status.FAULTY, reason=Reason.CONNECTION)
