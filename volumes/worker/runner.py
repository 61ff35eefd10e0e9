"""Take one step of one job; wait for a job; take all steps that are due."""

import errno as errnos
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import close_old_connections

from agents import log_lines
from agents.client import AgentUnreachable, Fault
from agents.struct_codec import Malformed
from inventory import audit, calls, clock, outages, recovery
from inventory.errors import NodeRefused, TimedOut
from inventory.fair_places import FairPlaces
from volumes.attach import attach, detach
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.lifecycle import batches, snapshots
from volumes.models import Job
from volumes.repair import drain, rebuild, shred
from volumes.scrub import mending, passes

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
    Job.Kind.SCRUB: passes.scrub_step,
    Job.Kind.MEND: mending.mend_step,
    Job.Kind.BATCH: batches.batch_step,
}
GIVE_UP: dict[str, GiveUp] = {
    Job.Kind.ATTACH: attach.give_up_attach,
    Job.Kind.DETACH: detach.give_up_detach,
    Job.Kind.FENCE: detach.give_up_detach,
    Job.Kind.SNAPSHOT: snapshots.give_up_snapshot,
    Job.Kind.UNSNAPSHOT: snapshots.give_up_unsnapshot,
}
"""What to do with a job that somebody waits for and that cannot succeed. Others try for ever."""

OWN_STEPS = 0.75
"""Of the time that a call may wait: later it takes no step itself, which could last longer."""
_places = FairPlaces(settings.VASTSKY_WAITING_CALLS)

SOON = timedelta(seconds=1)
AT_ONCE = 200
_POOL = ThreadPoolExecutor(max_workers=16, thread_name_prefix="steps")
_taken: set[int] = set()
"""Jobs that are in the hands of this pool."""
_taking = Lock()


def run_job(job_id: int) -> None:
    """Take steps of one job until it has to wait; safe to call late, twice, or at once.

    What follows from a step is the system's own doing, even in the thread of a caller that waits.
    An error of the database that passes is no failure of the job: it comes again.
    """
    with audit.acting_as(audit.SYSTEM.name, audit.SYSTEM.way), log_lines.about(job=job_id):
        try:
            _run(job_id)
        except DatabaseFailure as error:
            if not outages.is_passing(error):
                raise
            logger.warning("job %s comes again, the database fails: %s", job_id, error)
            outages.recover()


def _run(job_id: int) -> None:
    if recovery.why():
        return  # a step may harm what this database does not know of
    job = queue.claim(job_id)
    while job is not None:
        try:
            with queue.renewing(job):
                again = _step(job)
        except queue.LeaseLost:
            logger.info("job %s is another worker's by now", job_id)
            return
        except DatabaseFailure as error:
            _give_back(job, error)
            return
        if again is None:
            return
        queue.postpone(job, again)
        job = None if again.after else queue.claim(job_id)


def _give_back(job: Job, error: DatabaseFailure) -> None:
    """Let a job come again soon if the database takes even that, or else when its lease is over."""
    if not outages.is_passing(error):
        raise error
    logger.warning("job %s %s comes again, the database fails: %s", job.pk, job.kind, error)
    outages.recover()
    queue.postpone(job, Again(SOON, "the database was busy or away"))


def _step(job: Job) -> Again | None:
    """Take one step; a failure is retried until the job's time ends."""
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
    except Exception as error:
        if isinstance(error, DatabaseFailure) and outages.is_passing(error):
            raise
        logger.exception("job %s %s failed", job.pk, job.kind)
        return _failed(job, 500, "internal error, see the manager's log")
    return again if again is None else _in_time(job, again)


def _in_time(job: Job, again: Again) -> Again | None:
    """End a job that somebody waits for and that is not done when its time is over."""
    give_up = GIVE_UP.get(job.kind)
    over = _is_over(job) if job.attempts else queue.is_over(job, failing=False)
    if give_up is None or not over:
        return again
    errno = errnos.EHOSTDOWN if job.attempts else errnos.ETIMEDOUT
    give_up(job, errno, f"not done in time: {again.waiting or 'it is still under way'}")
    return None


def _failed(job: Job, errno: int, error: str, *, final: bool = False) -> Again | None:
    give_up = GIVE_UP.get(job.kind)
    if give_up and (final or _is_over(job)):
        give_up(job, errno, error)
        return None
    if job.kind == Job.Kind.SHRED and errno != errnos.EHOSTDOWN:
        return shred.give_up_or_retry(job, errno, error)
    return queue.retry(job, error, slowest=3 if give_up else 10)


def _is_over(job: Job) -> bool:
    """Tell whether failures are not retried any more."""
    return queue.is_over(job, failing=True)


def wait(job: Job) -> None:
    """Return when the job is done; raise what it failed with, under its errno.

    The caller's thread has to wait anyhow, so it takes the steps that are due itself: no message
    has to travel first, and no broker is needed to attach. So many may do so at once; the others
    wait for their turn, while workers take the steps. TimedOut once the caller's time is over.
    """
    until = calls.until(settings.VASTSKY_ATTACH_SECONDS)
    with calls.resting():
        has_place = _places.take(until - time.monotonic(), needless=lambda: _ended(job) is not None)
    try:
        row = _take_steps(job, until) if has_place else _ended(job)
    finally:
        if has_place:
            _places.give_back()
    if row is None:
        raise TimedOut(f"{job.kind} of {job.subject} is still under way as event {job.pk}")
    _raise_failure(row)


def _take_steps(job: Job, until: float) -> Job | None:
    """Take the job's steps until it has ended; None if it has not when the time is over."""
    own = time.monotonic() + OWN_STEPS * (until - time.monotonic())
    pause = 0.004
    run_job(job.pk)
    while (row := _ended(job)) is None and (left := until - time.monotonic()) > 0:
        _refuse_to_wait(job)
        time.sleep(min(pause, left))
        pause = min(pause * 1.3, 0.1)
        if time.monotonic() < own:
            _move_clock()
            run_job(job.pk)
    return row


def _refuse_to_wait(job: Job) -> None:
    """No job gets on in recovery mode, and recovery ends all that were under way."""
    with outages.Overlooked():
        recovery.refuse(f"{job.kind} of {job.subject}")


def _move_clock() -> None:
    """Steps come due by the cluster's clock, and there may be no worker to move it on."""
    with outages.Overlooked():
        clock.move(stood=clock.LEASH)


def _ended(job: Job) -> Job | None:
    """Read how the job ended; None if it has not, or nobody knows as the database is away."""
    row = None
    with outages.Overlooked():
        row = Job.objects.only("state", "errno", "error").get(pk=job.pk)
    return None if row is None or row.state == Job.State.OPEN else row


def _raise_failure(row: Job) -> None:
    if row.state == Job.State.DONE:
        return
    raise NodeRefused(row.errno or errnos.ECANCELED, row.error or "it was canceled")


def run_due() -> int:
    """Begin a step of every job that is due, many at once; how many were begun.

    Nobody waits for their ends: a node that does not answer holds up its own jobs alone. All of
    them rest in recovery mode.
    """
    if recovery.why():
        return 0
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
