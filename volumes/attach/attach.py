"""Attach a group to a head server; every older epoch is fenced off before anything else."""

import errno as errnos
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from agents.protocol import AttachOrder, Progress, Report
from inventory import audit, clock, recovery, servers
from inventory.errors import Busy, HostDown, Invalid, NotFound
from inventory.models import ALIVE, HeadServer
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.attach import assemble, places
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Attachment, Job, LogicalVolume
from volumes.replicas import rows, states

State = Attachment.State
POLL = timedelta(milliseconds=300)


# -- what a person asks ---------------------------------------------------------------------------


@write_lock()
def request_attach(volume: LogicalVolume, head_id: int, *, force: bool = False) -> Job:
    """Claim the group for a head and queue the work; the attachment's row is the lock.

    `force` is the operator's word that a replica which cannot be read is not the newest.
    """
    recovery.refuse(f"attaching {volume.name}")
    if volume.origin_id:
        raise Invalid(f"{volume.name} is a snapshot: it is attached together with its origin")
    if not LogicalVolume.objects.filter(pk=volume.pk).exists():
        raise NotFound(f"{volume.name} has just been deleted")
    head = HeadServer.objects.filter(pk=head_id).first()
    if head is None:
        raise Invalid(f"there is no head server hsvr-{head_id:08x}")
    if head.priority not in ALIVE:
        raise Invalid(f"head server {head.label} is {head.get_priority_display()}")
    try:
        with transaction.atomic():
            Attachment.objects.create(volume=volume, head=head, since=clock.now())
    except IntegrityError:
        raise Busy(f"{volume.name} is attached, or being attached or detached") from None
    _raise_epoch(volume)
    detail = f"{volume.name} to {head.label}" + (", forced" if force else "")
    job = queue.submit(
        Job.Kind.ATTACH,
        subject=f"{volume.name_and_id} to {head.label}",
        volume=volume,
        forced=force,
        deadline=queue.deadline(),
    )
    audit.record(audit.Action.ATTACH, volume, detail, job=job.pk)
    return job


def _raise_epoch(volume: LogicalVolume) -> None:
    """Begin a new epoch: whatever an older one exported is void from here on."""
    volume.refresh_from_db(fields=["epoch"])
    volume.epoch += 1
    volume.save(update_fields=["epoch"])


# -- attach, step by step -------------------------------------------------------------------------


def attach_step(job: Job) -> Again | None:
    """Read the group, export its replicas, plan with what they say, commit, order, record.

    Each part is idempotent, so the step is simply taken again after any failure.
    """
    attachment = (
        Attachment.objects.select_related("volume", "head")
        .filter(volume=job.volume_id, state=State.BINDING)
        .first()
    )
    if attachment is None:
        queue.finish(job, errnos.ECANCELED, "the attachment went away")
        return None
    volume = attachment.volume
    volumes = list(LogicalVolume.objects.filter(Q(pk=volume.pk) | Q(origin=volume, broken=False)))
    replicas = rows.of_group(volume.pk)
    try:
        planned, exported = assemble.prepare(
            job.pk, volume, replicas, clean=volume.closed_cleanly, force=job.forced
        )
    except places.Unclean as found:
        return places.take_others(job, found.replicas)
    except HostDown as refusal:
        return queue.retry(job, str(refusal), slowest=3)
    assemble.commit(job, attachment, planned)
    order = AttachOrder(
        eventid=job.pk,
        order=job.order,
        incarnation=servers.cluster().incarnation,
        lvolid=volume.pk,
        epoch=volume.epoch,
        devices=assemble.devices(volumes, planned, exported),
    )
    return _settle(job, nodes.head(attachment.head_id).attach(order))


def _settle(job: Job, report: Report) -> Again | None:
    match report.progress:
        case Progress.DONE:
            with write_lock():
                queue.finish(job)
                Attachment.objects.filter(volume=job.volume_id).move(State.BINDING, State.BOUND)
                states.record_replicas(job.volume_id or 0, report.replicas)
            return None
        case Progress.FAILED:
            give_up_attach(job, report.errno or errnos.EIO, report.message)
            return None
        case _:
            return Again(POLL, "the head is assembling the volume")


@write_lock()
def give_up_attach(job: Job, errno: int, error: str) -> None:
    """End an attach as ERROR with its cause; a detach cleans up from there."""
    queue.finish(job, errno, error)
    Attachment.objects.filter(volume=job.volume_id).move(State.BINDING, State.ERROR, error)
