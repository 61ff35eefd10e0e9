"""What a head is told to assemble: the newest replicas, as reached through their exports."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from django.db.models import Q
from django.utils import timezone

from agents.protocol import DeviceSpec, MirrorSpec, Reason, ReplicaState
from inventory.errors import HostDown
from inventory.write_lock import write_lock
from volumes.attach import newest
from volumes.attach.exports import Exports
from volumes.jobs import queue
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.replicas import rows, states
from volumes.replicas.rows import ReplicaRow

Choices = Mapping[int, newest.Choice]


def choose(found: Iterable[ReplicaRow], exported: Exports, *, clean: bool, force: bool) -> Choices:
    """Choose each mirror's newest replicas; HostDown tells why not, and what the servers said."""
    try:
        return {
            mirror: newest.choose(replicas, exported.marks, clean=clean, force=force)
            for mirror, replicas in rows.by_mirror(found).items()
        }
    except HostDown as refusal:
        said = sorted(set(exported.failed.values()))
        raise HostDown("; ".join([str(refusal), *said[:3]])) from None


@write_lock()
def commit(job: Job, attachment: Attachment, chosen: Choices) -> None:
    """Record who is left out before any head writes without them.

    From here on the end is unclean until a detach says otherwise, and the replicas that are still
    good are exactly the chosen ones.
    """
    queue.record(job, started=job.started or timezone.now())
    moved = Attachment.objects.filter(pk=attachment.pk, state=attachment.state)
    if not moved.exists():
        raise queue.LeaseLost(str(job))
    LogicalVolume.objects.filter(pk=attachment.volume_id).update(closed_cleanly=False)
    taken = [replica.dextid for c in chosen.values() for replica in c.taken]
    replicas = Replica.objects.filter(pk__in=taken)
    replicas.move(Replica.Status.ALLOCATED, Replica.Status.NEEDSHRED)
    forced = replicas.filter(status=Replica.Status.FAULTY).values_list("pk", flat=True)
    states.mark_in_sync(list(forced))
    _break_stores([mirror for mirror, c in chosen.items() if c.behind])
    for reason in (Reason.SILENT, Reason.STALE):
        left = [d for c in chosen.values() for d, why in c.out_of_sync.items() if why == reason]
        states.mark_out_of_sync(left, reason)
    # What was recorded of the others is over: the chosen ones come to the same counts without them.
    Replica.objects.filter(mirror__in=chosen, events__gt=0).exclude(pk__in=taken).update(events=0)


def _break_stores(behind: list[int]) -> None:
    """A snapshot whose store was left behind lacks what was overwritten since, and shows that."""
    if behind:
        volumes = Mirror.objects.filter(pk__in=behind).values("volume")
        LogicalVolume.objects.filter(pk__in=volumes, origin__isnull=False).update(broken=True)


def devices(which: Q, chosen: Choices, exported: Exports) -> tuple[DeviceSpec, ...]:
    """Describe volumes to a head: an origin before its snapshots, those oldest first."""
    volumes = LogicalVolume.objects.filter(which)
    mirrors = Mirror.objects.filter(volume__in=volumes).order_by("volume", "offset_gb")
    mirror_rows = mirrors.values_list("volume", "pk", "size_gb")
    specs = {
        volume: tuple(_mirror(row[1], row[2], chosen[row[1]], exported) for row in group)
        for volume, group in groupby(mirror_rows, key=lambda row: row[0])
    }
    return tuple(
        DeviceSpec(volume.pk, (volume.name, str(volume)), volume.capacity_gb, specs[volume.pk])
        for volume in sorted(volumes, key=lambda v: (v.origin_id is not None, v.pk))
    )


def _mirror(mirror: int, size_gb: int, chosen: newest.Choice, exported: Exports) -> MirrorSpec:
    replicas = tuple(exported.replica(replica, ReplicaState.INSYNC) for replica in chosen.taken)
    return MirrorSpec(mirror, size_gb, chosen.events, chosen.doubt, replicas)
