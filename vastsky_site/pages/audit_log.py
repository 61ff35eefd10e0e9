"""The audit log in the console: filters, search, and all of it as CSV."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from inventory.audit import Action
from inventory.models import AuditEntry
from volumes.console.frame import csv_export
from volumes.console.frame.formats import NOTHING, since
from volumes.console.frame.page import viewing
from volumes.console.lists.listing import Listing

COLUMNS = ("at", "actor", "way", "verb", "subject", "detail")


class ByVerb(admin.SimpleListFilter):
    """What was done; all verbs that there are, not only those that occur."""

    title = "verb"
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(verb.value, verb.value.replace("_", " ")) for verb in Action]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry]:
        return queryset.filter(verb=self.value()) if self.value() else queryset


class AuditLog(Listing):
    """What was changed, newest first."""

    list_display = ("moment", "who", "way", "what", "about", "detail")
    list_filter = (
        "way",
        ByVerb,
        ("at", admin.DateFieldListFilter),
        ("actor", admin.AllValuesFieldListFilter),
    )
    search_fields = ("subject", "detail", "actor")
    search_help_text = "Subject (lvol-0000001f), details, or who"
    ordering = ("-pk",)
    list_before_template = "access/audit_before.html"  # type: ignore[assignment]  # unfold says None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search the texts only: the number of a row is nobody's business."""
        return ModelAdmin.get_search_results(self, request, queryset, search_term)

    def get_urls(self) -> list[URLPattern]:
        """Put the CSV beside the list."""
        export = path("csv/", viewing(self.export), name="inventory_auditentry_csv")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Stream what the list with the same filters shows, all pages of it."""
        rows = self.get_changelist_instance(request).get_queryset(request)
        cells = rows.values_list(*COLUMNS).iterator(csv_export.CHUNK)
        return csv_export.stream("audit", COLUMNS, cells)

    @admin.display(description="When", ordering="pk")
    def moment(self, row: AuditEntry) -> SafeString:
        return since(row.at)

    @admin.display(description="Who", ordering="actor")
    def who(self, row: AuditEntry) -> str:
        return row.actor

    @admin.display(description="What", ordering="verb")
    def what(self, row: AuditEntry) -> str:
        return row.verb.replace("_", " ")

    @admin.display(description="Subject", ordering="subject")
    def about(self, row: AuditEntry) -> SafeString | str:
        """Lead to the history of the same subject."""
        if not row.subject:
            return NOTHING
        query = urlencode({"subject": row.subject})
        return format_html('<a class="vs-link" href="?{}">{}</a>', query, row.subject)
