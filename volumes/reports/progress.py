"""How work gets on: shares, rates and what is left."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from volumes.models import Job

OVERDUE = timedelta(seconds=90)
"""A step is due, and nobody took it for longer than any lease: worker or beat stand still."""
STUCK_AFTER = 3
"""Failed tries of one step after which a person should look."""


@dataclass(frozen=True, slots=True)
class Progress:
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


def of_job(job: Job) -> Progress:
    """Measure one job; a rebuild that has not begun counts by its mirror's size."""
    end = job.finished or timezone.now()
    seconds = (end - job.started).total_seconds() if job.started else 0.0
    total = job.total_mib
    if not total and job.kind == Job.Kind.REBUILD and job.mirror:
        total = job.mirror.size_gb * 1024
    # A rebuild that was over before anybody asked how far it is has no figures.
    done = total if job.state == Job.State.DONE else job.done_mib
    return Progress(done, total, done / seconds if seconds > 0 else 0.0)


def summed(parts: Iterable[Progress]) -> Progress:
    """Measure several jobs as one; rates add up, for they run side by side."""
    parts = list(parts)
    return Progress(
        sum(part.done_mib for part in parts),
        sum(part.total_mib for part in parts),
        sum(part.rate for part in parts),
    )


def open_jobs() -> QuerySet[Job]:
    """Read what is under way or waiting, what runs first."""
    rows = Job.objects.filter(state=Job.State.OPEN).select_related("mirror", "volume")
    return rows.order_by("urgency", "pk")


def needs_attention(now: datetime) -> Q:
    """Select open jobs that do not get on: overdue, past their deadline, or failing repeatedly."""
    late = Q(due__lt=now - OVERDUE) | Q(deadline__lt=now - OVERDUE)
    return Q(state=Job.State.OPEN) & (late | Q(attempts__gte=STUCK_AFTER))


def is_overdue(job: Job, now: datetime) -> bool:
    """Tell whether nobody takes an open job's next step."""
    return job.state == Job.State.OPEN and job.due < now - OVERDUE
