"""The list of events: what happened, when and why."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from inventory.models import EventEntry
from volumes.console.frame import csv_export
from volumes.console.frame.formats import NOTHING, since
from volumes.console.frame.page import number, viewing
from volumes.console.frame.pills import Pill
from volumes.console.lists.listing import Listing
from volumes.console.pages.events_here import pill

COLUMNS = (
    "at",
    "severity",
    "kind",
    "object_kind",
    "object_id",
    "object_name",
    "cause",
    "job",
    "actor",
    "audit",
)
OBJECTS = {
    EventEntry.Object.VOLUME: "admin:volumes_logicalvolume_change",
    EventEntry.Object.HEAD: "admin:inventory_headserver_change",
    EventEntry.Object.STORAGE: "admin:inventory_storageserver_change",
    EventEntry.Object.DISK: "admin:inventory_disk_change",
    EventEntry.Object.JOB: "admin:volumes_job_change",
}


class BySeverity(admin.SimpleListFilter):
    """How bad it is at least."""

    title = "severity"
    parameter_name = "least"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("2", "warnings and errors"), ("3", "errors")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[EventEntry]
    ) -> QuerySet[EventEntry]:
        least = self.value()
        return queryset.filter(severity__gte=int(least)) if least in {"2", "3"} else queryset


class EventList(Listing):
    """Events, newest first."""

    list_display = ("moment", "what", "about", "cause", "work", "by", "asked")
    list_filter = (
        BySeverity,
        "kind",
        "object_kind",
        ("at", admin.DateFieldListFilter),
    )
    search_fields = ("object_name", "cause", "actor")
    search_help_text = "Name, cause, or who"
    nothing = "Nothing has happened yet."
    ordering = ("-pk",)
    list_before_template = "console/events_before.html"  # type: ignore[assignment]  # unfold says None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search the texts only: the number of a row is nobody's business."""
        return ModelAdmin.get_search_results(self, request, queryset, search_term)

    def get_urls(self) -> list[URLPattern]:
        """Put the CSV beside the list."""
        export = path("csv/", viewing(self.export), name="inventory_evententry_csv")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Stream what the list with the same filters shows, all pages of it."""
        rows = self.get_changelist_instance(request).get_queryset(request)
        cells = rows.values_list(*COLUMNS).iterator(csv_export.CHUNK)
        return csv_export.stream("events", COLUMNS, (_worded(row) for row in cells))

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Lead from an event to what it is about."""
        row = get_object_or_404(EventEntry, pk=number(object_id))
        return redirect(_page_of(row) or "admin:inventory_evententry_changelist")

    @admin.display(description="When", ordering="pk")
    def moment(self, row: EventEntry) -> SafeString:
        return since(row.at)

    @admin.display(description="What", ordering="severity")
    def what(self, row: EventEntry) -> Pill:
        return pill(row)

    @admin.display(description="About", ordering="object_name")
    def about(self, row: EventEntry) -> SafeString | str:
        """Lead to its page, which says so if it is gone."""
        kind = row.get_object_kind_display()
        if not (url := _page_of(row)):
            return row.object_name or kind
        return format_html(
            '<span class="vs-name"><a class="vs-link" href="{}">{}</a><small>{}</small></span>',
            url,
            row.object_name,
            kind,
        )

    @admin.display(description="Job", ordering="job")
    def work(self, row: EventEntry) -> SafeString | str:
        if not row.job:
            return NOTHING
        url = reverse("admin:volumes_job_change", args=[row.job])
        return format_html('<a class="vs-link" href="{}">{}</a>', url, row.job)

    @admin.display(description="By", ordering="actor")
    def by(self, row: EventEntry) -> str:
        return row.actor

    @admin.display(description="Audit")
    def asked(self, row: EventEntry) -> SafeString | str:
        if not row.audit_id:
            return NOTHING
        url = reverse("admin:inventory_auditentry_change", args=[row.audit_id])
        return format_html('<a class="vs-link" href="{}">entry</a>', url)


def _page_of(row: EventEntry) -> str:
    page = OBJECTS.get(EventEntry.Object(row.object_kind))
    return reverse(page, args=[row.object_id]) if page else ""


def _worded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    at, severity, *others = row
    return at, EventEntry.Severity(severity).label, *others
