"""What a person may do to a job: try again now, cancel it, or force it past what it waits for."""

from django.db import transaction
from django.db.models import F, Q

from agents.protocol import Reason
from inventory import audit, clock
from inventory.errors import Busy, Invalid
from inventory.write_lock import write_lock
from volumes.jobs import queue, wakeup
from volumes.lifecycle import batches
from volumes.models import Attachment, Job, Replica
from volumes.repair import drain
from volumes.scrub import mending, passes

CANCELED = "canceled by an operator"


@write_lock()
def retry_job(job: Job) -> None:
    """Take the next step now instead of later; what is over is not begun again."""
    if job.state != Job.State.OPEN:
        raise Busy(f"{job} is {job.state}: it cannot be tried again, ask for the work anew")
    _record(audit.Action.RETRY_JOB, job)
    Job.objects.filter(pk=job.pk, state=Job.State.OPEN, waiting__gt="").update(
        due=clock.now(), attempts=0
    )
    transaction.on_commit(lambda: wakeup.wake(job.pk), robust=True)


@write_lock()
def cancel_job(job: Job) -> None:
    """Stop work that may be stopped without leaving anything half done."""
    match job.kind:
        case Job.Kind.EVACUATE | Job.Kind.MAINTENANCE:
            drain.end(job, CANCELED)
        case Job.Kind.ATTACH:
            if not queue.cancel(Q(pk=job.pk), CANCELED):
                raise Busy(f"{job} is over")
            _record(audit.Action.CANCEL_JOB, job)
            Attachment.objects.filter(volume=job.volume_id).move(
                Attachment.State.BINDING, Attachment.State.ERROR, CANCELED
            )
        case Job.Kind.SCRUB:
            passes.cancel(job, CANCELED)
        case Job.Kind.MEND:
            mending.dismiss(job, CANCELED)
        case Job.Kind.BATCH:
            if not batches.cancel(job, CANCELED):
                raise Busy(f"{job} is over")
            _record(audit.Action.CANCEL_JOB, job)
        case Job.Kind.REBUILD:
            raise Invalid("a rebuild restores redundancy and is not canceled; pause an evacuation")
        case Job.Kind.SHRED:
            raise Invalid("space is not used again before it is shredded: nothing to cancel")
        case _:
            raise Invalid(f"{job.kind} cannot be stopped half-way; force it or wait")


@write_lock()
def force_job(job: Job) -> None:
    """Take responsibility for what the job waits for.

    An attach takes the replicas that answer as the newest; a detach gives up the head, which is
    fenced off; a rebuild replaces a silent replica before its grace is over.
    """
    waiting = Job.objects.filter(pk=job.pk, state=Job.State.OPEN)
    match job.kind:
        case Job.Kind.ATTACH:
            done = waiting.update(forced=True, due=clock.now())
        case Job.Kind.DETACH:
            done = waiting.update(kind=Job.Kind.FENCE, due=clock.now(), order=F("order") + 1)
        case Job.Kind.REBUILD:
            silent = Replica.objects.filter(mirror=job.mirror_id, status=Replica.Status.FAULTY)
            silent.update(reason=Reason.FAILED)
            done = waiting.update(due=clock.now())
        case _:
            raise Invalid(f"there is nothing to force in a {job.kind}")
    if not done:
        raise Busy(f"{job} is over")
    _record(audit.Action.FORCE_JOB, job)


def _record(verb: audit.Action, job: Job) -> None:
    audit.record(verb, f"job {job.pk}", f"{job.kind} of {job.subject}")
