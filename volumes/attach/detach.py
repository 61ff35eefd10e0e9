"""Detach a group from its head: by a clean shutdown, or by a fence where the head is gone."""

import errno as errnos
from datetime import timedelta

from django.db.models import Q

from agents.protocol import DetachOrder, Progress, ReplicaReport, ReplicaState, Report
from inventory import audit, recovery, servers
from inventory.errors import Invalid, TryAgain
from inventory.models import ALIVE, HeadServer
from inventory.write_lock import write_lock
from volumes import labels, nodes
from volumes.attach import exports
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.placement import allocation
from volumes.replicas import rows, states

State = Attachment.State
POLL = timedelta(milliseconds=300)


# -- what a person, or a head's end, asks ---------------------------------------------------------


@write_lock()
def request_detach(volume: LogicalVolume) -> Job | None:
    """Begin to take the group away from its head; None when it is not attached.

    From ERROR it is always allowed. TryAgain while an attach or detach is under way.
    """
    recovery.refuse(f"detaching {volume.name}")
    if volume.origin_id:
        raise Invalid(f"{volume.name} is a snapshot: it is detached together with its origin")
    attachment = Attachment.objects.filter(volume=volume).select_related("head").first()
    if attachment is None:
        return None
    was = State(attachment.state)
    if was not in {State.BOUND, State.ERROR}:
        raise TryAgain(f"{volume.name} is {was} on {attachment.head.label}")
    if busy := queue.exclusive(volume):
        raise TryAgain(f"{volume.name}: {busy} is under way")
    if not Attachment.objects.filter(pk=attachment.pk).move(was, State.UNBINDING, attachment.error):
        raise TryAgain(f"{volume.name} has just changed")
    job = _submit_detach(Job.Kind.DETACH, volume, attachment.head)
    detail = f"{volume.name} from {attachment.head.label}"
    audit.record(audit.Action.DETACH, volume, detail, job=job.pk)
    return job


def request_fence(attachment: Attachment, cause: str) -> Job | None:
    """Take a group away from a head that is gone, whatever it was doing; in a transaction.

    None when a detach is under way already: it ends as a fence by itself once the head is down.
    """
    was = State(attachment.state)
    if was == State.UNBINDING:
        return None
    _stop_other_work(attachment.volume, cause)
    if not Attachment.objects.filter(pk=attachment.pk).move(was, State.UNBINDING, cause):
        return None
    volume = attachment.volume
    job = _submit_detach(Job.Kind.FENCE, volume, attachment.head)
    detail = f"{volume.name} from {attachment.head.label}: {cause}"
    audit.record(audit.Action.FENCE, volume, detail, job=job.pk)
    return job


def _stop_other_work(volume: LogicalVolume, cause: str) -> None:
    """End what waits for the head; a snapshot that was just being made was never promised."""
    making = Job.objects.filter(volume=volume, kind=Job.Kind.SNAPSHOT, state=Job.State.OPEN)
    unmade = [job.snapshot for job in making.select_related("snapshot") if job.snapshot]
    queue.cancel(Q(volume=volume, kind__in=Job.EXCLUSIVE), cause, errnos.EHOSTDOWN)
    for snapshot in unmade:
        allocation.give_back(snapshot)


def _submit_detach(kind: Job.Kind, volume: LogicalVolume, head: HeadServer) -> Job:
    return queue.submit(
        kind,
        subject=f"{volume.name_and_id} from {head.label}",
        volume=volume,
        deadline=queue.deadline(),
    )


# -- detach and fence, step by step ---------------------------------------------------------------


def detach_step(job: Job) -> Again | None:
    """Take the group down on the head, then make every storage server drop this epoch.

    A head that is down is passed over: the eviction at the storage servers is the fence.
    """
    attachment = (
        Attachment.objects.select_related("volume", "head")
        .filter(volume=job.volume_id, state=State.UNBINDING)
        .first()
    )
    if attachment is None:
        queue.finish(job, errnos.ECANCELED, "the attachment went away")
        return None
    closed: tuple[ReplicaReport, ...] = ()
    if attachment.head.priority in ALIVE and job.kind == Job.Kind.DETACH:
        report = _take_down(job, attachment)
        if report.progress == Progress.FAILED:
            return _refuse_detach(job, attachment, report)
        if report.progress != Progress.DONE:
            return Again(POLL, "the head is closing the volume")
        closed = report.replicas
    return _evict_and_settle(job, attachment, closed)


def _take_down(job: Job, attachment: Attachment) -> Report:
    order = DetachOrder(
        eventid=job.pk,
        order=job.order,
        incarnation=servers.cluster().incarnation,
        lvolid=attachment.volume_id,
        epoch=attachment.volume.epoch,
    )
    return nodes.head(attachment.head_id).detach(order)


@write_lock()
def _refuse_detach(job: Job, attachment: Attachment, report: Report) -> None:
    """Put the attachment back as it was: the head would not let go."""
    queue.finish(job, report.errno or errnos.EIO, report.message)
    Attachment.objects.filter(pk=attachment.pk).put_back(attachment.error)


def _evict_and_settle(
    job: Job, attachment: Attachment, closed: tuple[ReplicaReport, ...]
) -> Again | None:
    """Evict this epoch everywhere. A server that stays silent is left out by the next attach.

    The head may write on to any that serves it, so those that are out are asked as well.
    """
    volume = attachment.volume
    found = rows.of_group(volume.pk)
    alive = {replica.server for replica in found if replica.alive}
    out = {replica.server for replica in found} - alive
    failed = exports.evict(job.pk, volume.pk, volume.epoch, alive, unsure=out)
    if failed and job.attempts < 3:  # noqa: PLR2004 - a few seconds, then the next export evicts
        names = ", ".join(labels.storages(failed).values())
        return queue.retry(job, f"{names} must drop the exports first", slowest=2)
    with write_lock():
        if attachment.head.priority not in ALIVE:
            _tell_not_asked(job, attachment.head)
        queue.finish(job)
        states.record_closed(volume.pk, closed)
        used = (Replica.Status.INSYNC, Replica.Status.NEEDSHRED)
        good = {c.dextid for c in rows.of_group(volume.pk) if c.status in used}
        clean = good <= {c.dextid for c in closed if c.state == ReplicaState.INSYNC}
        volume.refresh_from_db(fields=["closed_cleanly", "epoch"])
        volume.closed_cleanly = volume.closed_cleanly or (bool(closed) and clean)
        volume.epoch += 1
        volume.save(update_fields=["closed_cleanly", "epoch"])
        Attachment.objects.filter(pk=attachment.pk).delete()
    return None


def _tell_not_asked(job: Job, head: HeadServer) -> None:
    out = f"{head.label} is {head.get_priority_display()}"
    queue.tell(job, f"{out}: it was not asked whether the volume is in use")


@write_lock()
def give_up_detach(job: Job, errno: int, error: str) -> None:
    """End a detach as ERROR with its cause; it may be asked for again at any time."""
    queue.finish(job, errno, error)
    Attachment.objects.filter(volume=job.volume_id).move(State.UNBINDING, State.ERROR, error)
