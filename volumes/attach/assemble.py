"""What a head is told to assemble: the newest replicas, as reached through their exports."""

from collections.abc import Iterable, Sequence

from django.db.models import Q
from django.utils import timezone

from agents.protocol import DeviceSpec, MirrorSpec, Reason, ReplicaState
from inventory.write_lock import write_lock
from volumes.attach import exports, places
from volumes.attach.exports import Exported
from volumes.attach.newest import Newest
from volumes.attach.plan import AttachPlan, plan
from volumes.jobs import queue
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.replicas import states
from volumes.replicas.broken import break_snapshots
from volumes.replicas.rows import GOOD, ReplicaRow


def prepare(
    job_id: int,
    group: LogicalVolume,
    replicas: Sequence[ReplicaRow],
    *,
    clean: bool,
    force: bool = False,
) -> tuple[AttachPlan, Exported]:
    """Export replicas for the group's epoch and plan with what their servers say; see plan.plan.

    Unclean where new replicas are in space that is not.
    """
    exported = exports.export(job_id, group.pk, group.epoch, [r for r in replicas if r.alive])
    if unclean := places.unclean(replicas, exported):
        raise places.Unclean(unclean)
    planned = plan(replicas, exported.marks, exported.failed, clean=clean, force=force)
    return planned, exported


@write_lock()
def commit(job: Job, attachment: Attachment, planned: AttachPlan) -> None:
    """Record who is left out before any head writes without them.

    From here on the shutdown is unclean until a detach says otherwise, and the replicas that are
    still good are exactly those of the plan.
    """
    queue.record(job, started=job.started or timezone.now())
    moved = Attachment.objects.filter(pk=attachment.pk, state=attachment.state)
    if not moved.exists():
        raise queue.LeaseLost(str(job))
    LogicalVolume.objects.filter(pk=attachment.volume_id).update(closed_cleanly=False)
    taken = planned.taken
    replicas = Replica.objects.filter(pk__in=taken)
    if replicas.count() != len(taken):  # one was given up since the plan was made: make it anew
        raise queue.LeaseLost(str(job))
    replicas.move(Replica.Status.ALLOCATED, Replica.Status.NEEDSHRED)
    forced = replicas.filter(status=Replica.Status.FAULTY).values_list("pk", flat=True)
    states.mark_in_sync(list(forced))
    if lost := planned.lost_writes:
        break_snapshots(Q(pk__in=lost), "an attach was forced that left the newest of it behind")
    for reason in (Reason.SILENT, Reason.STALE):
        states.mark_out_of_sync(planned.out_of_sync(reason), reason)
    # While a snapshot is being made its store may be repaired: what took a place since is not used.
    of_mirrors = Replica.objects.filter(mirror__in=planned.mirrors, status__in=GOOD)
    placed = list(of_mirrors.exclude(pk__in=taken).values_list("pk", flat=True))
    states.mark_out_of_sync(placed, Reason.STALE)
    # What was recorded of the others is over: those taken come to the same counts without them.
    others = Replica.objects.filter(mirror__in=planned.mirrors, events__gt=0).exclude(pk__in=taken)
    others.update(events=0)


def devices(
    volumes: Iterable[LogicalVolume], planned: AttachPlan, exported: Exported
) -> tuple[DeviceSpec, ...]:
    """Describe volumes to a head: an origin before its snapshots, those oldest first."""
    mirrors: dict[int, list[MirrorSpec]] = {}
    for newest in planned.mirrors.values():
        mirrors.setdefault(newest.taken[0].volume, []).append(_mirror(newest, exported))
    lost = planned.lost_writes
    return tuple(
        DeviceSpec(
            volume.pk,
            (volume.name, str(volume)),
            volume.capacity_gb,
            tuple(mirrors[volume.pk]),
            created=int(volume.created.timestamp()),
        )
        for volume in sorted(volumes, key=lambda v: (v.origin_id is not None, v.pk))
        if not (volume.origin_id and volume.pk in lost)
    )


def _mirror(newest: Newest, exported: Exported) -> MirrorSpec:
    replicas = tuple(exported.replica(replica, ReplicaState.INSYNC) for replica in newest.taken)
    size_gb = newest.taken[0].size_gb
    return MirrorSpec(newest.mirror, size_gb, newest.events, newest.dirty, replicas)
