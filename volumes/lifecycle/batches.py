"""One thing that is done to many volumes: a job whose rows tell what became of each."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from django.db import transaction
from django.db.models import Q

from inventory import audit, recovery
from inventory.errors import Invalid, Refused
from inventory.write_lock import write_lock
from volumes.attach import attach, detach
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.lifecycle import snapshots, volumes
from volumes.models import Batch, BatchRow, Job, LogicalVolume

State = BatchRow.State
AT_ONCE = 16
"""Jobs of one batch that are under way at once: others have their turn, and none waits too long."""
STEP = 50
"""Volumes that one step goes through."""
SOON = timedelta(seconds=1)


class Named(Protocol):
    """A volume, or as much of one as a batch takes down."""

    @property
    def pk(self) -> int: ...
    @property
    def name(self) -> str: ...


@write_lock()
def request_batch(
    verb: Batch.Kind, chosen: Sequence[Named], *, head: int = 0, force: bool = False
) -> Job:
    """Take down what is to be done to which volumes, and queue the work."""
    recovery.refuse(f"{verb} of {len(chosen)} volumes")
    if not chosen:
        raise Invalid(f"{verb}: no volume is chosen")
    job = queue.submit(Job.Kind.BATCH, subject=f"{verb} of {len(chosen)} volumes")
    batch = Batch.objects.create(job=job, verb=verb, head=head, force=force)
    rows = [BatchRow(batch=batch, volume=volume.pk, name=volume.name) for volume in chosen]
    BatchRow.objects.bulk_create(rows, batch_size=1000)
    audit.record(audit.Action.START_BATCH, job, job.subject, job=job.pk)
    return job


def batch_step(job: Job) -> Again | None:
    """Begin the next few, see what became of those that were begun, end when all are over.

    Each volume is a transaction of its own: a step that dies between two of them goes on there.
    """
    batch = Batch.objects.get(pk=job.pk)
    _see_what_ended(batch)
    places = AT_ONCE - batch.rows.filter(state=State.BEGUN).count()
    for row in batch.rows.filter(state=State.WAITING).order_by("pk")[:STEP]:
        if places <= 0:
            break
        with audit.acting_as(job.actor, audit.Entrance.CONSOLE):
            places -= _act(batch, row)
    counts = Counter(batch.rows.values_list("state", flat=True))
    left = counts[State.WAITING] + counts[State.BEGUN]
    if left:
        after = SOON if counts[State.BEGUN] else timedelta()
        return Again(after, f"{left} of {counts.total()} are left", in_line=True)
    _end(job, counts)
    return None


def cancel(job: Job, error: str) -> bool:
    """Begin no more of them, in the caller's transaction; what was begun goes on as what it is."""
    if not queue.cancel(Q(pk=job.pk), error):
        return False
    waiting = BatchRow.objects.filter(batch=job.pk, state=State.WAITING)
    waiting.update(state=State.REFUSED, text=error)
    return True


def _act(batch: Batch, row: BatchRow) -> int:
    """Do it to one volume; tell how many jobs were begun by that."""
    try:
        with write_lock():
            if not _move(row, State.WAITING, State.BEGUN):
                return 0
            volume = LogicalVolume.objects.filter(pk=row.volume).first()
            if volume is None:
                raise Invalid("it is gone")
            job = ACTS[Batch.Kind(batch.verb)](volume, batch)
            if job is None:
                _move(row, State.BEGUN, State.DONE)
                return 0
            BatchRow.objects.filter(pk=row.pk).update(job=job.pk)
            return 1
    except Refused as refusal:
        _move(row, State.WAITING, State.REFUSED, str(refusal))
        return 0


def _move(row: BatchRow, was: State, to: State, text: str = "") -> bool:
    """Compare and set."""
    held = BatchRow.objects.filter(pk=row.pk, state=was)
    return bool(held.update(state=to, text=text[:250]))


def _see_what_ended(batch: Batch) -> None:
    begun = {row.job: row for row in batch.rows.filter(state=State.BEGUN)}
    jobs = Job.objects.in_bulk([pk for pk in begun if pk])
    for pk, row in begun.items():
        ended = jobs.get(pk) if pk else None
        if ended is None:
            _move(row, State.BEGUN, State.REFUSED, "nobody knows any more what became of it")
        elif ended.state == Job.State.DONE:
            _move(row, State.BEGUN, State.DONE)
        elif ended.state != Job.State.OPEN:
            _move(row, State.BEGUN, State.REFUSED, ended.error or str(ended.state))


@transaction.atomic
def _end(job: Job, counts: Counter[str]) -> None:
    """End the job; that some were refused is told in the rows, and does not make it fail."""
    queue.tell(job, f"{counts[State.DONE]} done, {counts[State.REFUSED]} not done")
    queue.finish(job)


def _attach(volume: LogicalVolume, batch: Batch) -> Job | None:
    return attach.request_attach(volume, batch.head, force=batch.force)


def _detach(volume: LogicalVolume, _: Batch) -> Job | None:
    return detach.request_detach(volume)


def _delete(volume: LogicalVolume, _: Batch) -> Job | None:
    if volume.origin_id:
        return snapshots.delete_snapshot(volume)
    return volumes.delete_volume(volume)


ACTS: dict[Batch.Kind, Callable[[LogicalVolume, Batch], Job | None]] = {
    Batch.Kind.ATTACH: _attach,
    Batch.Kind.DETACH: _detach,
    Batch.Kind.DELETE: _delete,
}
