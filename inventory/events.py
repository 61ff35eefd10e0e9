"""Events: what happened to what, when and why, written in the transaction of the change."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from inventory.actors import actor
from inventory.insert_select import insert_from
from inventory.models import AuditEntry, Disk, EventEntry

Kind, Severity, Object = EventEntry.Kind, EventEntry.Severity, EventEntry.Object

logger = logging.getLogger(__name__)

LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}
OBJECTS = {
    "logicalvolume": Object.VOLUME,
    "headserver": Object.HEAD,
    "storageserver": Object.STORAGE,
    "disk": Object.DISK,
    "job": Object.JOB,
}
"""Whose rows events are told about, by the names of their models."""
INSERT = (
    "INSERT INTO inventory_evententry"
    " (at, severity, kind, object_kind, object_id, object_name, cause, actor)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
SLICE = 5000
"""Events that are forgotten at once."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to one of many objects of a kind."""

    severity: EventEntry.Severity
    object_id: int
    object_name: str
    cause: str


def tell(
    kind: EventEntry.Kind,
    severity: EventEntry.Severity,
    about: object,
    cause: str = "",
    *,
    job: int | None = None,
    audit: AuditEntry | None = None,
) -> None:
    """Write an event about a row, or about the cluster; in the caller's transaction.

    `about` is a row of one of OBJECTS, or a text: "job 7", or whatever is the whole cluster's.
    """
    _require_transaction(kind)
    of, number, name = _describe(about)
    row = EventEntry.objects.create(
        kind=kind,
        severity=severity,
        object_kind=of,
        object_id=number,
        object_name=name[:160],
        cause=cause[:500],
        job=job or (number if of == Object.JOB else None),
        actor=actor().name[:150],
        audit=audit,
    )
    transaction.on_commit(partial(_log, row), robust=True)


def tell_all(kind: EventEntry.Kind, of: EventEntry.Object, what: Iterable[Happening]) -> None:
    """Write what happened to many objects at once; in the caller's transaction."""
    _require_transaction(kind)
    happenings = list(what)
    who = actor().name[:150]
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:  # a server that fails has thousands of volumes
        cursor.executemany(
            INSERT,
            [
                (
                    now,
                    int(one.severity),
                    str(kind),
                    str(of),
                    one.object_id,
                    one.object_name,
                    one.cause[:500],
                    who,
                )
                for one in happenings
            ],
        )
    _log_many(kind, of, len(happenings))


def tell_from(kind: EventEntry.Kind, of: EventEntry.Object, what: QuerySet[Any, Any]) -> None:
    """Write what a query tells of many objects, in the order of a Happening's members; as
    `tell_all`, for thousands that a person waits for."""
    _require_transaction(kind)
    alike = {
        "at": connection.ops.adapt_datetimefield_value(timezone.now()),
        "kind": str(kind),
        "object_kind": str(of),
        "actor": actor().name[:150],
    }
    columns = ("severity", "object_id", "object_name", "cause")
    _log_many(kind, of, insert_from(what, EventEntry, columns, alike))


def forget_old() -> int:
    """Forget what is older than it is kept, or more than is kept; a slice at a time."""
    ends = EventEntry.objects.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return 0
    kept_since = timezone.now() - timedelta(days=settings.VASTSKY_KEEP_EVENTS_DAYS)
    first = EventEntry.objects.filter(pk__lt=ends["first"] + SLICE)
    old = first.filter(at__lt=kept_since) | first.filter(
        pk__lte=ends["last"] - settings.VASTSKY_KEEP_EVENTS
    )
    return old.delete()[0]


def _log_many(kind: EventEntry.Kind, of: EventEntry.Object, count: int) -> None:
    if count:
        told = partial(logger.info, "%s of kind %s: %s", count, of, Kind(kind).label)
        transaction.on_commit(told, robust=True)


def _log(row: EventEntry) -> None:
    """Say it in the log as well, once it is so."""
    logger.log(
        LEVELS[Severity(row.severity)],
        "%s %s: %s%s",
        row.object_kind,
        row.object_name,
        row.get_kind_display(),
        f": {row.cause}" if row.cause else "",
        extra={"event": row.pk, "job": row.job},
    )


def _require_transaction(kind: EventEntry.Kind) -> None:
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(f"{kind} is told in no transaction")


def _describe(about: object) -> tuple[EventEntry.Object, int, str]:
    """Tell the kind, the number and the name of what an event is about."""
    meta = getattr(about, "_meta", None)
    if meta is not None and meta.model_name in OBJECTS:
        named = getattr(about, "subject", "") or getattr(about, "name", "")
        if isinstance(about, Disk):  # which has no name of its own
            named = about.label
        return OBJECTS[meta.model_name], int(getattr(about, "pk", 0)), str(named or about)
    kind, _, number = str(about).partition(" ")
    if kind == "job" and number.isdigit():
        return Object.JOB, int(number), str(about)
    return Object.CLUSTER, 0, "" if str(about) == "cluster" else str(about)
