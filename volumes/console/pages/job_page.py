"""A job's page, and jobs as lines of other pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from inventory import clock
from volumes.console.frame.page import fragment, number, page, viewing
from volumes.console.frame.pills import Pill, job_pill
from volumes.console.verbs import run
from volumes.models import Job
from volumes.reports import progress

STORY = 200
"""Lines of a job's story that are shown, the latest."""
RELATED = ("volume", "snapshot", "mirror__volume", "extent__disk", "server", "disk")


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as it is shown."""

    job: Job
    pill: Pill
    progress: progress.WorkProgress

    @property
    def percent_text(self) -> str:
        """Whole percents as text."""
        return f"{self.progress.percent} %"


@dataclass(frozen=True, slots=True)
class Milestone:
    """A point on a job's way."""

    text: str
    at: datetime | None
    reached: bool


def pill(job: Job) -> Pill:
    """Show a job's state."""
    return job_pill(
        job.state,
        started=job.started is not None,
        paused=job.paused,
        overdue=progress.is_overdue(job, clock.now()),
    )


def lines(jobs: Iterable[Job]) -> list[JobSummary]:
    """Measure jobs for showing."""
    return [JobSummary(job, pill(job), progress.of_job(job)) for job in jobs]


def show(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show one job."""
    job = get_object_or_404(Job.objects.select_related(*RELATED), pk=number(object_id))
    return page(
        request,
        "console/job.html",
        f"Job {job.pk}: {job.get_kind_display().lower()}",
        **_context(request, job),
    )


@viewing
def live(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show what changes on a job's page."""
    job = get_object_or_404(Job.objects.select_related(*RELATED), pk=job_id)
    return fragment(request, "console/job_live.html", **_context(request, job))


def _context(request: HttpRequest, job: Job) -> dict[str, object]:
    (line,) = lines([job])
    over = job.state != Job.State.OPEN
    latest = list(job.lines.order_by("-pk")[: STORY + 1])
    return {
        "job": job,
        "line": line,
        "way": [
            Milestone("asked", job.created, reached=True),
            Milestone("begun", job.started, reached=job.started is not None),
            Milestone("ended", job.finished, reached=over),
        ],
        "story": latest[STORY - 1 :: -1],
        "is_cut": len(latest) > STORY,
        "buttons": run.buttons(request, job),
        "is_over": over,
    }
