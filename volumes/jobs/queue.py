"""The queue: a job is a row; whoever moves its `due` forward holds the next step until then."""

import errno as errnos
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from inventory import audit, clock, ids, outages
from inventory.errors import Busy
from inventory.insert_select import insert_from
from volumes.jobs import job_events, wakeup
from volumes.models import Job, JobLine, LogicalVolume

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=12)
"""How long a job waits for a worker that died; one that lives renews its lease (`renewing`)."""
LONGEST_STEP = 300.0
DEADLINE = 0.7
"""Of the time that a caller may wait: he hears of the end, and may have made it himself."""
LONGEST_SUBJECT = 160
LONGEST = timedelta(minutes=1)
"""No step is put off for longer: what seems to be was dated by another clock."""


@dataclass(frozen=True, slots=True)
class Again:
    """A step's answer: look at this job again after a while, waiting for what is said here.

    `in_line`: others come first, as they should; that it does not get on is no problem.
    """

    after: timedelta = timedelta()
    waiting: str = ""
    in_line: bool = False


class LeaseLost(Exception):
    """Another worker owns the job by now: drop what this one was about to record."""


def submit(kind: Job.Kind, *, subject: str, **about: Any) -> Job:
    """Record the work; a worker hears of it once the caller's transaction commits.

    Busy when the group already has a job that excludes this one.
    """
    now = clock.now()
    job = Job(
        kind=kind, subject=subject[:LONGEST_SUBJECT], due=now, since=now, actor=_actor(), **about
    )
    job.pk = ids.take("event")[0]
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError:
        raise Busy(f"{subject}: other work on it is under way") from None
    tell(job, f"asked for by {job.actor}")
    transaction.on_commit(partial(wakeup.wake, job.pk), robust=True)
    return job


def submit_all(kind: Job.Kind, works: Sequence[dict[str, Any]], *, wake: int = 0) -> int:
    """Record many jobs at once, each given by the columns that tell it from the others.

    Those whose subject has such a job already are left out. Workers hear of the first `wake`; the
    next tick finds the others. One prepared statement for all: thousands of model instances, each
    column prepared anew, took most of the time in which a failed server was answered.
    """
    if not works:
        return 0
    columns = _alike(kind)
    rows = [
        list({**columns, "id": number, **work}.values())
        for number, work in zip(ids.take("event", len(works)), works, strict=True)
    ]
    names = ", ".join(map(connection.ops.quote_name, columns))
    marks = ", ".join(["%s"] * len(columns))
    table = Job._meta.db_table  # noqa: SLF001 - Django documents it as an API
    insert = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - all of it is ours
    with connection.cursor() as cursor:
        cursor.executemany(insert, rows)
    for number in [row[0] for row in rows[:wake]]:
        transaction.on_commit(partial(wakeup.wake, number), robust=True)
    return len(rows)


def submit_from(kind: Job.Kind, columns: Sequence[str], works: QuerySet[Any, Any]) -> int:
    """Record a job for each row of a query, whose values go to `columns`; under the write lock.

    As `submit_all`, for thousands that a person waits for: what they are made of stays where it is.
    """
    count = works.count()
    if not count:
        return 0
    alike = _alike(kind, but=("id", *columns))
    return insert_from(works, Job, columns, alike, first=ids.take("event", count)[0])


def _alike(kind: Job.Kind, but: Sequence[str] = ()) -> dict[str, Any]:
    """Prepare for the database what new jobs of a kind have in all columns `but` these."""
    now = clock.now()
    job = Job(kind=kind, due=now, since=now, actor=_actor())
    return {
        field.attname: field.get_db_prep_save(field.pre_save(job, add=True), connection)
        for field in Job._meta.concrete_fields  # noqa: SLF001 - Django documents it as an API
        if field.attname not in but
    }


def _actor() -> str:
    return audit.actor().name[:64]


def claim(job_id: int) -> Job | None:
    """Take the job for LEASE; None if it is over, not due, or another worker has it."""
    now, token = clock.now(), secrets.token_hex(8)
    if not _due(now).filter(pk=job_id).update(due=now + LEASE, holder=token):
        return None
    return Job.objects.filter(pk=job_id, holder=token).first()


@contextmanager
def renewing(job: Job) -> Iterator[None]:
    """Renew the lease while the block runs: a step may wait for a node longer than LEASE."""
    over = threading.Event()
    renewer = threading.Thread(
        target=_keep_renewing, args=(job, over), name=f"renew-{job.pk}", daemon=True
    )
    renewer.start()
    try:
        yield
    finally:
        over.set()


def _keep_renewing(job: Job, over: threading.Event) -> None:
    """Most steps end before this thread has touched the database at all.

    A step that takes longer than any node may is hung: then its job is another worker's.
    """
    end = time.monotonic() + LONGEST_STEP
    try:
        while not over.wait(LEASE.total_seconds() / 3) and time.monotonic() < end:
            _renew(job)
    finally:
        connection.close()


def _renew(job: Job) -> None:
    try:
        _owned(job).update(due=clock.now() + LEASE)
    except DatabaseFailure as error:
        logger.warning("the lease of job %s is not renewed: %s", job.pk, error)
        outages.recover()


def due_ids(now: datetime, limit: int) -> list[int]:
    """Name the jobs whose next step is due, most urgent first."""
    found = _due(now).order_by("urgency", "due", "pk")
    return list(found.values_list("pk", flat=True)[:limit])


def _due(now: datetime) -> QuerySet[Job]:
    """Select what is due; a kind of work that a newer release has is left to its workers."""
    is_due = Q(due__lte=now) | Q(due__gt=now + LONGEST)
    return Job.objects.filter(is_due, state=Job.State.OPEN, kind__in=Job.Kind.values)


def _owned(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, state=Job.State.OPEN, holder=job.holder)


def record(job: Job, **fields: Any) -> None:
    """Write these fields of a job that is still ours; LeaseLost otherwise."""
    if not _owned(job).update(**fields):
        raise LeaseLost(str(job))
    for name, value in fields.items():
        setattr(job, name, value)


def start(job: Job, what: str, **fields: Any) -> None:
    """Record that nodes are about to be asked for this, as a new order."""
    order = job.order + 1
    fields |= {"started": job.started or timezone.now(), "moved": clock.now()}
    record(job, ordered=True, order=order, waiting="", **fields)
    tell(job, f"{what}: order {job.order} to the node")


def get_on(job: Job, done_mib: int, **fields: Any) -> None:
    """Record how far long work is; if that is further than before, it got on now."""
    if done_mib != job.done_mib:
        fields["moved"] = clock.now()
    record(job, done_mib=done_mib, **fields)


def postpone(job: Job, again: Again) -> None:
    """Give the job back until later; losing it meanwhile is fine."""
    waiting = again.waiting[:250]
    moved = {"moved": clock.now()} if again.in_line else {}
    due = clock.now() + again.after
    is_news = waiting and _gist(waiting) != _gist(job.waiting)
    with transaction.atomic() if is_news else nullcontext():
        given = _owned(job).update(due=due, waiting=waiting, holder="", **moved)
        if given and is_news:
            tell(job, waiting)
            if not again.in_line:
                job_events.tell_of_waiting(job, waiting)


def retry(job: Job, error: str, *, slowest: int = 30) -> Again:
    """Count a failed try and wait longer each time; the cause stays readable in the row."""
    record(job, attempts=F("attempts") + 1)
    job.refresh_from_db(fields=["attempts"])
    return Again(timedelta(seconds=min(2 ** min(job.attempts - 1, 10), slowest)), error)


@transaction.atomic
def finish(job: Job, errno: int = 0, error: str = "") -> None:
    """End the job in the caller's transaction; LeaseLost rolls it back.

    Without an errno it is done; ECANCELED means that there is nothing to do any more; else failed.
    """
    ends = {0: Job.State.DONE, errnos.ECANCELED: Job.State.CANCELED}
    state = ends.get(errno, Job.State.FAILED)
    record(
        job,
        state=state,
        errno=errno,
        error=error,
        waiting="",
        finished=timezone.now(),
    )
    tell(job, f"{state}: {error}" if error else str(state))
    job_events.tell_of_end(job)
    logger.info("job %s %s %s: %s %s", job.pk, job.kind, job.subject, state, error)


def tell(job: Job, text: str) -> None:
    """Add a line to the job's story."""
    JobLine.objects.create(job=job, text=text[:500])


def _gist(text: str) -> str:
    """Strip the numbers: "silent for 31 s" after "silent for 29 s" is no news."""
    return re.sub(r"\d+", "", text)


def forget_old(limit: int = 500) -> int:
    """Remove jobs with their stories VASTSKY_KEEP_JOBS_DAYS after their end, for reconcile."""
    kept_since = timezone.now() - timedelta(days=settings.VASTSKY_KEEP_JOBS_DAYS)
    old = Job.objects.filter(finished__lt=kept_since).values_list("pk", flat=True)[:limit]
    return Job.objects.filter(pk__in=list(old)).delete()[0]


def cancel(which: Q, error: str, errno: int = errnos.ECANCELED) -> int:
    """End open jobs whose subject went away; a worker in the midst of one loses its lease."""
    return Job.objects.filter(which, state=Job.State.OPEN).update(
        state=Job.State.CANCELED, errno=errno, error=error, waiting="", finished=timezone.now()
    )


def exclusive(volume: LogicalVolume) -> Job | None:
    """Find the group's open attach, detach, fence or snapshot job."""
    return Job.objects.filter(volume=volume, state=Job.State.OPEN, kind__in=Job.EXCLUSIVE).first()


def deadline() -> datetime:
    """Until when a job that somebody waits for has to be over: while he still waits."""
    return clock.now() + _whole()


def is_over(job: Job, *, failing: bool) -> bool:
    """Tell whether the time of a job that somebody waits for is over.

    Failures are retried for less long: a node that died is surely noticed as OFFLINE by then.
    """
    if job.deadline is None:
        return False
    timeout = timedelta(seconds=settings.VASTSKY_OFFLINE_SECONDS + 15)
    spared = max(_whole() - timeout, timedelta()) if failing else timedelta()
    return clock.now() >= job.deadline - spared


def _whole() -> timedelta:
    return timedelta(seconds=settings.VASTSKY_ATTACH_SECONDS * DEADLINE)
