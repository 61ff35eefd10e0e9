"""What jobs make happen, told as events of what they are about."""

from django.db.models import Model

from inventory import events
from inventory.events import Kind, Severity
from volumes.models import Job

ENDS = {
    Job.Kind.ATTACH: Kind.ATTACHED,
    Job.Kind.DETACH: Kind.DETACHED,
    Job.Kind.FENCE: Kind.FENCED,
    Job.Kind.EVACUATE: Kind.DRAINED,
    Job.Kind.MAINTENANCE: Kind.MAINTENANCE_ENDED,
}
"""What it is when such a job is done; of others their volumes tell, or nobody asks."""
WAITERS = frozenset(Job.EXCLUSIVE)
"""Of these it is told what they wait for: others wait by the thousand for one cause, or get on."""


def tell_of_end(job: Job) -> None:
    """Tell that a job failed, or what came of it; in the transaction of its end."""
    if job.state == Job.State.FAILED:
        cause = f"{job.kind} of {job.subject}: {job.error}"
        events.tell(Kind.JOB_FAILED, Severity.ERROR, _about(job), cause, job=job.pk)
    elif job.state == Job.State.DONE and job.kind in ENDS:
        kind = ENDS[Job.Kind(job.kind)]
        events.tell(kind, Severity.INFO, _about(job), job.subject, job=job.pk)


def tell_of_waiting(job: Job, why: str) -> None:
    """Tell that work which somebody asked for does not get on, and why."""
    if job.kind in WAITERS:
        cause = f"{job.kind} of {job.subject}: {why}"
        events.tell(Kind.JOB_WAITS, Severity.WARNING, _about(job), cause, job=job.pk)


def _about(job: Job) -> Model:
    """Find what a job is about; the job itself where that is gone."""
    disk = job.disk or (job.extent.disk if job.extent else None)
    return job.snapshot or job.volume or job.server or disk or job
