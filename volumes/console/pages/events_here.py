"""The latest events of one object, on its page."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.http import urlencode

from inventory.models import EventEntry
from volumes.console.frame.pills import EVENTS, Pill

SHOWN = 8


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event as it is shown."""

    row: EventEntry
    pill: Pill


@dataclass(frozen=True, slots=True)
class EventsHere:
    """The latest events, and where all are."""

    lines: list[EventLine]
    everything: str


def about(of: EventEntry.Object, number: int) -> EventsHere:
    """Read the latest events of an object, newest first."""
    rows = EventEntry.objects.filter(object_kind=of, object_id=number).order_by("-pk")
    query = urlencode([("object_kind__exact", of.value), ("object_id", number)])
    return EventsHere(
        [EventLine(row, pill(row)) for row in rows[:SHOWN]],
        f"{reverse('admin:inventory_evententry_changelist')}?{query}",
    )


def pill(row: EventEntry) -> Pill:
    """Show what happened, in the tone of how bad it is."""
    severity = EventEntry.Severity(row.severity)
    return Pill(str(row.get_kind_display()), EVENTS[severity], severity.label)
