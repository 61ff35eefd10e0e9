"""The method of the API that lists events: what happened to what, when and why."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from inventory.errors import Invalid
from inventory.models import EventEntry
from volumes.webhooks.message import event_struct

Kind, Object, Severity = EventEntry.Kind, EventEntry.Object, EventEntry.Severity
Time = Annotated[str, 32]

MOST = 1000
"""In one answer."""
SETTLED = timedelta(seconds=5)
"""Who follows hears of an event so late: a change that began before it may end after it, and would
be passed over for ever."""


def list_events(
    *,
    lvolid: int = 0,
    hsvrid: int = 0,
    ssvrid: int = 0,
    pdskid: int = 0,
    eventid: int = 0,
    severity: Annotated[str, 8] = "info",
    kind: Annotated[str, 20] = "",
    since: Time = "",
    until: Time = "",
    limit: int = 100,
    cursor: Annotated[str, 20] = "",
    follow: int = 0,
) -> dict[str, Any]:
    """Return events, newest first, or with follow oldest first, and the cursor of the next page.

    The ids choose what they are about, eventid the job; severity is the least: info, warning,
    error. since and until are times like 2026-11-28T06:00:00Z. With follow the cursor never ends.
    """
    wanted = {
        Object.VOLUME: lvolid,
        Object.HEAD: hsvrid,
        Object.STORAGE: ssvrid,
        Object.DISK: pdskid,
    }
    chosen = _about(wanted).filter(severity__gte=severity_of(severity))
    chosen = chosen.filter(_when(since, until))
    if kind:
        chosen = chosen.filter(kind=_kind(kind))
    if eventid:
        chosen = chosen.filter(job=eventid)
    return _page(chosen, cursor, _limit(limit), follow=bool(follow))


def _about(wanted: dict[EventEntry.Object, int]) -> QuerySet[EventEntry]:
    named = {of: number for of, number in wanted.items() if number}
    if len(named) > 1:
        raise Invalid("one of lvolid, hsvrid, ssvrid and pdskid is wanted, or none")
    rows = EventEntry.objects.all()
    for of, number in named.items():
        rows = rows.filter(object_kind=of, object_id=number)
    return rows


def _page(chosen: QuerySet[EventEntry], cursor: str, limit: int, *, follow: bool) -> dict[str, Any]:
    last = _cursor(cursor)
    if follow:
        settled = chosen.filter(at__lt=timezone.now() - SETTLED)
        rows = list(settled.filter(pk__gt=last or 0).order_by("pk")[:limit])
        return {
            "events": [event_struct(row) for row in rows],
            "cursor": _after(rows) or cursor or "0",
        }
    if last is not None:
        chosen = chosen.filter(pk__lt=last)
    rows = list(chosen.order_by("-pk")[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    return {"events": [event_struct(row) for row in rows], "cursor": _after(rows) if more else ""}


def _after(rows: list[EventEntry]) -> str:
    return str(rows[-1].pk) if rows else ""


def severity_of(word: str) -> EventEntry.Severity:
    """Read a severity by its name; Invalid for what is none."""
    for one in Severity:
        if one.label == word:
            return one
    raise Invalid(f"severity is info, warning or error, not {word!r}")


def _kind(word: str) -> str:
    if word not in Kind.values:
        raise Invalid(f"there is no kind of event {word!r}; there are {', '.join(Kind.values)}")
    return word


def _when(since: str, until: str) -> Q:
    when = Q()
    if since:
        when &= Q(at__gte=_time(since))
    if until:
        when &= Q(at__lt=_time(until))
    return when


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no time like 2026-11-28T06:00:00Z") from None
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise Invalid(f"{text!r} is beyond all times") from None


def _limit(limit: int) -> int:
    if limit not in range(1, MOST + 1):
        raise Invalid(f"limit is 1 to {MOST}, not {limit}")
    return limit


def _cursor(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:  # noqa: PLR2004 - 63 bits
        raise Invalid(f"{text!r} is no cursor of an earlier answer")
    return int(text)


PROCEDURES: dict[str, Callable[..., Any]] = {"vastsky.listEvents": list_events}
