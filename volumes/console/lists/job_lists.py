"""The list of jobs: what is under way, and what was done."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from inventory import clock
from volumes.console.frame.cells import bar, named
from volumes.console.frame.formats import NOTHING, named_first, since, span
from volumes.console.frame.permissions import Right
from volumes.console.frame.pills import Pill
from volumes.console.lists.listing import Listing, previewed
from volumes.console.pages import job_page
from volumes.console.pages.job_page import pill
from volumes.models import Job
from volumes.reports import progress


class ByAttention(admin.SimpleListFilter):
    """Jobs that do not get on."""

    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("needed", "stuck or overdue")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() == "needed":
            return queryset.filter(progress.needs_attention(clock.now()))
        return queryset


class JobList(Listing):
    """Jobs, newest first."""

    list_display = ("job", "state_pill", "about", "share", "news", "who", "began", "took")
    list_filter = ("state", "kind", ByAttention)
    list_select_related = ("mirror",)
    search_fields = ("subject", "error", "actor")
    nothing = "Nothing has been done yet."
    ordering = ("-pk",)
    actions = (
        previewed("retry-job", "Retry now ..."),
        previewed("pause-job", "Pause ..."),
        previewed("resume-job", "Go on ..."),
        previewed("end-maintenance", "End maintenance ..."),
        previewed("cancel-job", "Cancel ..."),
        previewed("force-job", "Force ...", Right.OPERATE),
    )

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return job_page.show(request, object_id)

    @admin.display(description="Job", ordering="pk")
    def job(self, row: Job) -> SafeString:
        return named(row.kind, row.pk)

    @admin.display(description="State", ordering="state")
    def state_pill(self, row: Job) -> Pill:
        return pill(row)

    @admin.display(description="About", ordering="subject")
    def about(self, row: Job) -> str:
        return named_first(row.subject)

    @admin.display(description="Progress")
    def share(self, row: Job) -> SafeString | str:
        measured = progress.of_job(row)
        if not measured.total_mib:
            return NOTHING
        return bar(measured.done_mib, measured.total_mib, f"{measured.percent} %")

    @admin.display(description="Waits for, or ended with")
    def news(self, row: Job) -> str:
        return row.error or row.waiting or NOTHING

    @admin.display(description="Asked by", ordering="actor")
    def who(self, row: Job) -> str:
        return row.actor or NOTHING

    @admin.display(description="Asked", ordering="created")
    def began(self, row: Job) -> SafeString:
        return since(row.created)

    @admin.display(description="Took", ordering="finished")
    def took(self, row: Job) -> str:
        if row.finished is None:
            return NOTHING
        return span((row.finished - row.created).total_seconds())
