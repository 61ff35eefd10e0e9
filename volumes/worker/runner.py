"""Take one step of one job; wait for a job; take all steps that are due."""

import errno as errnos
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import BoundedSemaphore, Lock

from django.conf import settings
from django.db import close_old_connections

from agents.client import AgentUnreachable, Fault
from agents.protocol import Malformed
from inventory import audit, clock
from inventory.errors import NodeRefused, TimedOut
from volumes.attach import attach, detach
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.lifecycle import snapshots
from volumes.models import Job
from volumes.repair import drain, rebuild, shred

logger = logging.getLogger(__name__)

Step = Callable[[Job], Again | None]
GiveUp = Callable[[Job, int, str], None]

STEPS: dict[str, Step] = {
    Job.Kind.ATTACH: attach.attach_step,
    Job.Kind.DETACH: detach.detach_step,
    Job.Kind.FENCE: detach.detach_step,
    Job.Kind.SNAPSHOT: snapshots.snapshot_step,
    Job.Kind.UNSNAPSHOT: snapshots.unsnapshot_step,
    Job.Kind.REBUILD: rebuild.rebuild_step,
    Job.Kind.SHRED: shred.shred_step,
    Job.Kind.EVACUATE: drain.evacuate_step,
    Job.Kind.MAINTENANCE: drain.maintenance_step,
}
GIVE_UP: dict[str, GiveUp] = {
    Job.Kind.ATTACH: attach.give_up_attach,
    Job.Kind.DETACH: detach.give_up_detach,
    Job.Kind.FENCE: detach.give_up_detach,
    Job.Kind.SNAPSHOT: snapshots.give_up_snapshot,
    Job.Kind.UNSNAPSHOT: snapshots.give_up_unsnapshot,
}
"""What to do with a job that somebody waits for and that cannot succeed. Others try for ever."""

PATIENCE = 5.0
"""Seconds that a call waits for its turn to wait."""
_waiting = BoundedSemaphore(settings.VASTSKY_WAITING_CALLS)

AT_ONCE = 200
_POOL = ThreadPoolExecutor(max_workers=16, thread_name_prefix="steps")
_taken: set[int] = set()
"""Jobs that are in the hands of this pool."""
_taking = Lock()


def run_job(job_id: int) -> None:
    """Take steps of one job until it has to wait; safe to call late, twice, or at once.

    What follows from a step is the system's own doing, even in the thread of a caller that waits.
    """
    with audit.acting_as(audit.SYSTEM.name, audit.SYSTEM.way):
        _run(job_id)


def _run(job_id: int) -> None:
    job = queue.claim(job_id)
    while job is not None:
        try:
            with queue.renewing(job):
                again = _step(job)
        except queue.LeaseLost:
            logger.info("job %s is another worker's by now", job_id)
            return
        if again is None:
            return
        queue.postpone(job, again)
        job = None if again.after else queue.claim(job_id)


def _step(job: Job) -> Again | None:
    """Take one step; a failure is retried until the job's patience ends."""
    try:
        again = STEPS[job.kind](job)
    except AgentUnreachable as error:
        return _failed(job, error.errno, str(error))
    except Fault as fault:
        return _failed(job, fault.errno, str(fault), final=True)
    except Malformed as error:
        return _failed(job, errnos.EHOSTDOWN, f"no sane answer: {error}")
    except queue.LeaseLost:
        raise
    except Exception:
        logger.exception("job %s %s failed", job.pk, job.kind)
        return _failed(job, 500, "internal error, see the manager's log")
    if again is not None and job.attempts and _is_over(job):
        return _failed(job, errnos.EHOSTDOWN, again.waiting)
    return again


def _failed(job: Job, errno: int, error: str, *, final: bool = False) -> Again | None:
    give_up = GIVE_UP.get(job.kind)
    if give_up and (final or _is_over(job)):
        give_up(job, errno, error)
        return None
    if job.kind == Job.Kind.SHRED and errno != errnos.EHOSTDOWN:
        return shred.give_up_or_retry(job, errno, error)
    return queue.retry(job, error, slowest=3 if give_up else 10)


def _is_over(job: Job) -> bool:
    """Tell whether a job's time is over, be it for failures or altogether."""
    whole = job.since + timedelta(seconds=settings.VASTSKY_ATTACH_SECONDS)
    return queue.expired(job) or (job.kind in GIVE_UP and clock.now() >= whole)


def wait(job: Job) -> None:
    """Return when the job is done; raise what it failed with, under its errno.

    The caller's thread has to wait anyhow, so it takes the steps that are due itself: no message
    has to travel first, and no broker is needed to attach. Workers take over where it stops.
    TimedOut where as many wait already as may: a hung node must not take all threads.
    """
    if not _waiting.acquire(timeout=PATIENCE):
        raise TimedOut(
            f"{settings.VASTSKY_WAITING_CALLS} calls wait for nodes already; "
            f"{job.kind} of {job.subject} goes on as event {job.pk}"
        )
    try:
        _wait(job)
    finally:
        _waiting.release()


def _wait(job: Job) -> None:
    until = time.monotonic() + settings.VASTSKY_ATTACH_SECONDS
    pause = 0.004
    run_job(job.pk)
    while time.monotonic() < until:
        row = Job.objects.only("state", "errno", "error", "due").get(pk=job.pk)
        if row.state != Job.State.OPEN:
            return _raise_failure(row)
        time.sleep(pause)
        # Steps come due by the cluster's clock, and there may be no worker to move it on.
        clock.move(stood=clock.LEASH)
        pause = min(pause * 1.3, 0.1)
        run_job(job.pk)
    raise TimedOut(f"{job.kind} of {job.subject} is still under way as event {job.pk}")


def _raise_failure(row: Job) -> None:
    if row.state == Job.State.DONE:
        return
    raise NodeRefused(row.errno or errnos.ECANCELED, row.error or "it was canceled")


def run_due() -> int:
    """Begin a step of every job that is due, many at once; how many were begun.

    Nobody waits for their ends: a node that does not answer holds up its own jobs alone.
    """
    with _taking:
        room = AT_ONCE - len(_taken)
        due = [pk for pk in queue.due_ids(clock.now(), AT_ONCE) if pk not in _taken][:room]
        _taken.update(due)
    for job_id in due:
        _POOL.submit(_run_in_thread, job_id)
    return len(due)


def _run_in_thread(job_id: int) -> None:
    try:
        close_old_connections()
        run_job(job_id)
    except Exception:
        logger.exception("job %s could not be run", job_id)
    finally:
        with _taking:
            _taken.discard(job_id)
