"""How long replicas have been out of reach, and what is not to be replaced by itself for now."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from inventory.models import Priority, StorageServer
from volumes.models import Job, Replica
from volumes.replicas.rows import ReplicaRow

OUT = (Priority.OFFLINE, Priority.FAULTY)


def silences(replicas: Iterable[ReplicaRow]) -> dict[int, float]:
    """Tell for how many seconds servers or disks of replicas have been silent or out, else 0."""
    now = timezone.now()
    rows = Replica.objects.filter(pk__in=[replica.dextid for replica in replicas]).values_list(
        "pk",
        "server__silent_since",
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


def brake_is_on() -> bool:
    """Tell whether more storage servers went silent than may be replaced without a person."""
    known = StorageServer.objects.exclude(priority=Priority.HALT)
    rows = list(known.values_list("priority", "silent_since"))
    vanished = sum(p == Priority.OFFLINE and silent is not None for p, silent in rows)
    return vanished > 1 and vanished * 100 > settings.VASTSKY_BRAKE_PERCENT * len(rows)
