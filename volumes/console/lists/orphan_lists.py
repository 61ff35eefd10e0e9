"""The list of what nodes hold that this database does not understand."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from volumes import labels
from volumes.console.frame.formats import NOTHING, lasting
from volumes.console.frame.permissions import Right
from volumes.console.lists.listing import Listing, previewed
from volumes.models import Orphan


class OrphanList(Listing):
    """Orphans, oldest first. They are left alone, but for what a person releases."""

    list_display = ("what", "where", "disk_name", "volume", "epoch", "clients", "why", "when")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("disk",)
    nothing = "The nodes hold nothing that this database does not know."
    ordering = ("pk",)
    actions = (previewed("release-orphan", "Release from quarantine ...", Right.ADMINISTER),)

    def prepare(self, rows: Sequence[Any]) -> None:
        places = labels.in_texts(row.place for row in rows)
        named = labels.volumes(row.lvolid for row in rows)
        for row, place in zip(rows, places, strict=True):
            row.on, row.of = place, named[row.lvolid]
            if row.name:  # of a volume that this database may not know
                row.of = f"{row.name} (lvol-{row.lvolid:08x})"

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """There is no more of one than its row."""
        if self.get_object(request, object_id) is None:
            raise Http404(f"no orphan {object_id[:20]}")
        return redirect("admin:volumes_orphan_changelist")

    @admin.display(description="What", ordering="kind")
    def what(self, row: Orphan) -> str:
        return f"dext-{row.dextid:08x}" if row.dextid else row.get_kind_display()

    @admin.display(description="Server", ordering="server")
    def where(self, row: Any) -> str:
        return str(row.on)

    @admin.display(description="Disk", ordering="disk")
    def disk_name(self, row: Orphan) -> str:
        return row.disk or NOTHING

    @admin.display(description="Volume", ordering="lvolid")
    def volume(self, row: Any) -> str:
        return str(row.of)

    @admin.display(description="Why")
    def why(self, row: Orphan) -> str:
        return row.reason or NOTHING

    @admin.display(description="Since", ordering="since")
    def when(self, row: Orphan) -> SafeString:
        return lasting(row.since)
