"""Lists of what differs between replicas."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from volumes import labels
from volumes.console.frame.cells import link, named
from volumes.console.frame.formats import NOTHING, since
from volumes.console.frame.pills import Pill
from volumes.console.lists.listing import Listing
from volumes.console.pages import scrub_page
from volumes.models import UnequalBlock


class UnequalBlockList(Listing):
    """Findings of scrubs, newest first."""

    list_display = ("what", "state_pill", "of_volume", "servers", "mended_by", "when")
    list_filter = ("state",)
    list_select_related = ("mirror__volume", "job")
    search_fields = ("mirror__volume__name",)
    nothing = "No scrub has found replicas that differ."
    ordering = ("-pk",)
    list_before_template = "console/scrubs_before.html"  # type: ignore[assignment]  # unfold says None

    def prepare(self, rows: Sequence[Any]) -> None:
        prefetch_related_objects(rows, "contents")
        named = labels.storages(one.server_id for row in rows for one in row.contents.all())
        for row in rows:
            row.on = ", ".join(named[one.server_id] for one in row.contents.all())

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = (extra_context or {}) | scrub_page.cluster_context(request)
        return super().changelist_view(request, context)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return scrub_page.show(request, object_id)

    @admin.display(description="Where", ordering="pk")
    def what(self, row: UnequalBlock) -> SafeString:
        return named(f"{row.length} bytes at {row.volume_offset}", row.mirror)

    @admin.display(description="State", ordering="state")
    def state_pill(self, row: UnequalBlock) -> Pill:
        return scrub_page.STATES[UnequalBlock.State(row.state)]

    @admin.display(description="Volume", ordering="mirror__volume__name")
    def of_volume(self, row: UnequalBlock) -> SafeString | str:
        return link(row.mirror.volume, row.mirror.volume.name)

    @admin.display(description="Replicas on")
    def servers(self, row: Any) -> str:
        return str(row.on)

    @admin.display(description="Job")
    def mended_by(self, row: UnequalBlock) -> SafeString | str:
        return link(row.job) if row.job else NOTHING

    @admin.display(description="Found", ordering="found")
    def when(self, row: UnequalBlock) -> SafeString:
        return since(row.found)


class BlockContentList(Listing):
    """What replicas have where they differ."""

    list_display = ("__str__", "block")
    list_select_related = ("block",)
    ordering = ("-pk",)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return scrub_page.lead_from_content(object_id)
