"""Snapshots: frozen views of an origin, each with a copy-on-write store of its own."""

import errno as errnos
from datetime import timedelta

from django.db.models import Q

from agents.protocol import Progress, Report, SnapshotOrder, UnsnapshotOrder
from inventory import audit, clock, recovery, servers
from inventory.errors import Busy, HostDown, Invalid, NotFound
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.attach import assemble, exports, places
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.lifecycle import volumes
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.placement import allocation, layout
from volumes.replicas import rows

POLL = timedelta(milliseconds=300)
State = Attachment.State


@write_lock()
def create_snapshot(*, origin: LogicalVolume, name: str) -> tuple[LogicalVolume, Job | None]:
    """Reserve a snapshot of an origin; with a job where a head must make it appear.

    Busy while the origin is being attached or detached; nothing is kept when the head refuses.
    """
    recovery.refuse(f"creating {name[:80]}")
    volumes.check_name(name)
    if origin.origin_id:
        raise Invalid(f"{origin.name} is itself a snapshot")
    if not LogicalVolume.objects.filter(pk=origin.pk).exists():
        raise Invalid(f"{origin.name} has just been deleted")
    snapshot = LogicalVolume(
        name=name,
        capacity_gb=origin.capacity_gb,
        store_gb=layout.snapshot_store_gb(origin.capacity_gb),
        redundancy=origin.redundancy,
        tags=origin.tags,
        origin=origin,
    )
    volumes.record(snapshot)
    allocation.reserve(snapshot, layout.mirror_sizes(snapshot.store_gb))
    audit.record(audit.Action.CREATE_SNAPSHOT, snapshot, f"{name} of {origin.name_and_id}")
    attached = Attachment.objects.filter(volume=origin).first()
    if attached is None:
        return snapshot, None
    if attached.state != State.BOUND:
        raise Busy(f"{origin.name} is {attached.state}")
    job = queue.submit(
        Job.Kind.SNAPSHOT,
        subject=f"{name} ({snapshot}) of {origin.name}",
        volume=origin,
        snapshot=snapshot,
        deadline=queue.deadline(),
    )
    return snapshot, job


@write_lock()
def delete_snapshot(snapshot: LogicalVolume) -> Job | None:
    """Delete a snapshot; with a job where a head must let go of it first."""
    recovery.refuse(f"deleting {snapshot.name}")
    if not LogicalVolume.objects.filter(pk=snapshot.pk).exists():
        raise NotFound(f"there is no snapshot {snapshot.name} any more")
    attached = Attachment.objects.filter(volume=snapshot.origin_id).first()
    audit.record(audit.Action.DELETE_SNAPSHOT, snapshot, snapshot.name)
    if attached is None:
        allocation.give_back(snapshot)
        return None
    if attached.state != State.BOUND:
        raise Busy(f"the origin of {snapshot.name} is {attached.state}")
    return queue.submit(
        Job.Kind.UNSNAPSHOT,
        subject=snapshot.name_and_id,
        volume_id=snapshot.origin_id,
        snapshot=snapshot,
        deadline=queue.deadline(),
    )


# -- making one appear ----------------------------------------------------------------------------


def snapshot_step(job: Job) -> Again | None:
    """Export the store's replicas and have the head freeze the origin into a new device."""
    attached = _bound(job)
    if attached is None or job.snapshot is None:
        give_up_snapshot(job, errnos.ECANCELED, "the origin was detached meanwhile")
        return None
    group = attached.volume
    replicas = rows.load(Q(mirror__volume=job.snapshot_id))
    try:
        planned, exported = assemble.prepare(job.pk, group, replicas, clean=True)
    except places.Unclean as found:
        return places.take_others(job, found.replicas)
    except HostDown as refusal:
        return queue.retry(job, str(refusal), slowest=3)
    assemble.commit(job, attached, planned)
    order = SnapshotOrder(
        eventid=job.pk,
        order=job.order,
        incarnation=servers.cluster().incarnation,
        lvolid=group.pk,
        epoch=group.epoch,
        device=assemble.devices([job.snapshot], planned, exported)[0],
    )
    return _settle_snapshot(job, nodes.head(attached.head_id).snapshot(order))


def _bound(job: Job) -> Attachment | None:
    bound = Attachment.objects.filter(volume=job.volume_id, state=State.BOUND)
    return bound.select_related("volume").first()


def _settle_snapshot(job: Job, report: Report) -> Again | None:
    match report.progress:
        case Progress.DONE:
            with write_lock():
                queue.finish(job)
                replicas = Replica.objects.filter(mirror__volume=job.snapshot_id)
                replicas.filter(status=Replica.Status.NEEDSHRED).update(since=clock.now())
                replicas.move(Replica.Status.NEEDSHRED, Replica.Status.INSYNC)
            return None
        case Progress.FAILED:
            give_up_snapshot(job, report.errno or errnos.EIO, report.message)
            return None
        case _:
            return Again(POLL, "the head is making the snapshot")


@write_lock()
def give_up_snapshot(job: Job, errno: int, error: str) -> None:
    """End the job and keep nothing of the snapshot."""
    snapshot = job.snapshot
    queue.finish(job, errno, error)
    if snapshot is not None:
        allocation.give_back(snapshot)


# -- making one go away ---------------------------------------------------------------------------


def unsnapshot_step(job: Job) -> Again | None:
    """Have the head let go of a snapshot, drop its exports, and give its space back."""
    attached = _bound(job)
    if attached is None or job.snapshot is None:
        queue.finish(job, errnos.ECANCELED, "the origin was detached meanwhile")
        return None
    _count_as_lost(job, job.snapshot)
    group = attached.volume
    order = UnsnapshotOrder(
        eventid=job.pk,
        order=job.order,
        incarnation=servers.cluster().incarnation,
        lvolid=group.pk,
        epoch=group.epoch,
        snapshot=job.snapshot.pk,
    )
    report = nodes.head(attached.head_id).unsnapshot(order)
    if report.progress == Progress.FAILED and report.errno == errnos.EBUSY:
        give_up_unsnapshot(job, errnos.EBUSY, report.message)
        return None
    if report.progress == Progress.FAILED:
        # The head's process may just be starting anew: what it is told later is another order.
        queue.record(job, order=job.order + 1)
        return queue.retry(job, report.message, slowest=3)
    if report.progress != Progress.DONE:
        return Again(POLL, "the head is closing the snapshot")
    # A server that does not answer drops the export before it shreds, at the latest.
    found = rows.load(Q(mirror__volume=job.snapshot_id))
    alive = {replica.server for replica in found if replica.alive}
    exports.evict(job.pk, group.pk, group.epoch, alive, [replica.dextid for replica in found])
    with write_lock():
        snapshot = job.snapshot
        queue.finish(job)
        allocation.give_back(snapshot)
    return None


@write_lock()
def _count_as_lost(job: Job, snapshot: LogicalVolume) -> None:
    """From the order on the head may keep nothing for the snapshot: never assemble it again."""
    if job.was_broken is None:
        queue.record(job, was_broken=snapshot.broken)
        whole = LogicalVolume.objects.filter(pk=snapshot.pk, broken=False)
        whole.update(broken=True, broken_because="its deletion has begun, but was not finished")


@write_lock()
def give_up_unsnapshot(job: Job, errno: int, error: str) -> None:
    """End the job. Only a snapshot that is in use is surely whole; others may be half gone."""
    queue.finish(job, errno, error)
    if errno == errnos.EBUSY and job.was_broken is False and job.snapshot_id:
        LogicalVolume.objects.filter(pk=job.snapshot_id).update(broken=False, broken_because="")
