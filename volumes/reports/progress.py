"""How work gets on: shares, rates and what is left."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import BigIntegerField, Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from inventory import clock
from volumes.models import Job

OVERDUE = timedelta(seconds=90)
"""A step is due, and nobody took it for longer than any lease: worker or beat stand still."""
STILL = timedelta(minutes=5)
"""Long work that gets on does so more often."""
GETTING_ON = timedelta(minutes=1)
"""Long work that moved since then gets on, whatever failed before."""
STUCK_AFTER = 3
"""Failed tries of one step after which a person should look."""


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """How far work is. `rate` is in MiB/s since its start; `left` in seconds, None if unknown."""

    done_mib: int
    total_mib: int
    rate: float

    @property
    def percent(self) -> int:
        """Whole percents done."""
        return 100 * self.done_mib // self.total_mib if self.total_mib else 0

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate."""
        return (self.total_mib - self.done_mib) / self.rate if self.rate else None


def of_job(job: Job) -> WorkProgress:
    """Measure one job; a rebuild that has not begun counts by its mirror's size."""
    end = job.finished or timezone.now()
    seconds = (end - job.started).total_seconds() if job.started else 0.0
    total = job.total_mib
    if not total and job.kind == Job.Kind.REBUILD and job.mirror:
        total = job.mirror.size_gb * 1024
    # A rebuild that was over before anybody asked how far it is has no figures.
    done = total if job.state == Job.State.DONE else job.done_mib
    moves = seconds > 0 and not _rests(job)
    return WorkProgress(done, total, done / seconds if moves else 0.0)


def _rests(job: Job) -> bool:
    """Tell whether open work is paused, or has not got on for a while: it has no speed then."""
    if job.state != Job.State.OPEN:
        return False
    return job.paused or (job.moved is not None and job.moved < clock.now() - GETTING_ON)


@dataclass(frozen=True, slots=True)
class Work:
    """The open jobs of one kind as a whole."""

    kind: str
    count: int
    running: int
    progress: WorkProgress


def of_kind(kind: Job.Kind) -> Work:
    """Sum up the open jobs of a kind; only those that run are read, the rest may be thousands."""
    rows = Job.objects.filter(kind=kind, state=Job.State.OPEN)
    of_mirror = F("mirror__size_gb") * 1024
    total = Case(
        When(total_mib=0, then=Coalesce(of_mirror, 0)),
        default="total_mib",
        output_field=BigIntegerField(),
    )
    sums = rows.aggregate(count=Count("pk"), done=Sum("done_mib"), total=Sum(total))
    running = [of_job(job) for job in rows.filter(ordered=True).select_related("mirror")]
    whole = WorkProgress(sums["done"] or 0, sums["total"] or 0, sum(one.rate for one in running))
    return Work(str(kind), sums["count"], len(running), whole)


def open_jobs() -> QuerySet[Job]:
    """Read what is under way or waiting, what runs first."""
    rows = Job.objects.filter(state=Job.State.OPEN).select_related("mirror")
    return rows.order_by(Case(When(started=None, then=1), default=0), "urgency", "pk")


def needs_attention(now: datetime) -> Q:
    """Select open jobs that do not get on: overdue, late, failing often, or at a standstill."""
    late = Q(due__lt=now - OVERDUE) | Q(deadline__lt=now - OVERDUE)
    moving = Q(ordered=True, moved__isnull=False, moved__gte=now - GETTING_ON)
    failing = Q(attempts__gte=STUCK_AFTER) & ~moving
    return Q(state=Job.State.OPEN) & (late | failing | _stands_still(now))


def _stands_still(now: datetime) -> Q:
    """Select long work that nobody waits for and that has not got on for long.

    What has no order out may wait until the grace of its server is over.
    """
    grace = timedelta(seconds=settings.VASTSKY_GRACE_SECONDS)
    ordered = Q(ordered=True, moved__lt=now - STILL)
    since = Q(moved__lt=now - STILL) | Q(moved=None, since__lt=now - STILL)
    patient = Q(moved__lt=now - STILL - grace) | Q(moved=None, since__lt=now - STILL - grace)
    evacuating = Q(kind=Job.Kind.EVACUATE, paused=False) & since
    waiting = Q(kind=Job.Kind.REBUILD, ordered=False) & patient
    shredding = Q(kind=Job.Kind.SHRED, ordered=False) & since
    return ordered | evacuating | waiting | shredding


def is_overdue(job: Job, now: datetime) -> bool:
    """Tell whether nobody takes an open job's next step."""
    return job.state == Job.State.OPEN and job.due < now - OVERDUE
