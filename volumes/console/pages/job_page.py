"""A job's page, and jobs as lines of other pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from inventory import clock
from volumes.console.frame import gone
from volumes.console.frame.formats import named_first
from volumes.console.frame.page import ENOUGH, fragment, number, page, part_of, viewing
from volumes.console.frame.pills import Pill, job_pill
from volumes.console.verbs import many, run
from volumes.console.verbs.run import Button
from volumes.models import Job
from volumes.reports import progress

STORY = 200
"""Lines of a job's story that are shown, the latest."""
NEWS = timedelta(minutes=1)
"""For so long after its end a job is shown where it was asked for."""
NEWS_SHOWN = 6
NOUNS: dict[str, str] = {
    Job.Kind.EVACUATE: "evacuation",
    Job.Kind.UNSNAPSHOT: "deletion",
    Job.Kind.MEND: "mending",
}
RELATED = ("volume", "snapshot", "mirror__volume", "extent__disk", "server", "disk")


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as it is shown."""

    job: Job
    pill: Pill
    progress: progress.WorkProgress

    @property
    def title(self) -> str:
        """Say what it does, to what."""
        noun = NOUNS.get(self.job.kind, self.job.kind).capitalize()
        return f"{noun} of {named_first(self.job.subject)}"

    @property
    def percent_text(self) -> str:
        """Whole percents as text."""
        return f"{self.progress.percent} %"


@dataclass(frozen=True, slots=True)
class News:
    """A job on the page of what it is about, with what may be done to it."""

    line: JobSummary
    buttons: list[Button]


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
        attempts=job.attempts,
    )


def lines(jobs: Iterable[Job]) -> list[JobSummary]:
    """Measure jobs for showing."""
    return [JobSummary(job, pill(job), progress.of_job(job)) for job in jobs]


def news(request: HttpRequest, about: Q) -> list[News]:
    """Read the jobs about something that are under way, or have just ended, newest first."""
    recent = Q(state=Job.State.OPEN) | Q(finished__gte=timezone.now() - NEWS)
    jobs = Job.objects.filter(about, recent).select_related("mirror").order_by("-pk")
    return [News(line, run.buttons(request, line.job)) for line in lines(jobs[:NEWS_SHOWN])]


def show(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show one job."""
    job = Job.objects.select_related(*RELATED).filter(pk=number(object_id)).first()
    if job is None:
        return gone.show(request, Job, number(object_id))
    return page(
        request,
        "console/job.html",
        f"Job {job.pk}: {job.get_kind_display().lower()}",
        **_context(request, job),
    )


@viewing
@part_of("admin:volumes_job_change")
def live(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show what changes on a job's page."""
    job = Job.objects.select_related(*RELATED).filter(pk=job_id).first()
    if job is None:
        return gone.tell(request, Job, job_id)
    answer = fragment(request, "console/job_live.html", **_context(request, job))
    answer.status_code = 200 if job.state == Job.State.OPEN else ENOUGH
    return answer


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
        "batch": many.shown(job) if job.kind == Job.Kind.BATCH else None,
    }
