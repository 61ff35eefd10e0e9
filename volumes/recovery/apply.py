"""Carry out a recovery: one transaction for each volume, and all of it may be done again."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from django.db.models import Q

from inventory import audit, clock, recovery, space
from inventory.models import Cluster
from inventory.write_lock import write_lock
from volumes import labels
from volumes.jobs import queue
from volumes.models import AbsentNode, Attachment, Job, LogicalVolume, Replica
from volumes.placement import allocation
from volumes.recovery import quarantine, take_up
from volumes.recovery.recovery_plan import Plan
from volumes.recovery.survey import GroupTold, Survey

Say = Callable[[str], object]


def carry_out(survey: Survey, chosen: Plan, say: Say) -> None:
    """Do all that is planned, and end recovery mode."""
    _raise_counters(survey, chosen)
    say("counters and incarnation are above all that was told")
    _end_old_work()
    for volume_id, lost in _by_volume(chosen.lost):
        _drop_lost(volume_id, lost)
    # Snapshots go first: their numbers are above their origins'.
    for volume_id in sorted(chosen.deleted, reverse=True):
        _delete(volume_id)
    for volume in chosen.volumes:
        take_up.take_up(volume)
        say(f"{volume.name} (lvol-{volume.about.lvolid:08x}): {len(volume.places)} replicas")
    for place in chosen.surplus:
        quarantine.give_up(place)
    reasons = labels.in_texts(chosen.quarantined.values())
    for place, reason in zip(chosen.quarantined, reasons, strict=True):
        quarantine.keep(place, reason)
    for disk in survey.disks:
        space.doubt_free(quarantine.disk_of(disk.name), disk.generation)
    _take_up_groups(survey)
    _end(survey)


@write_lock()
def _raise_counters(survey: Survey, chosen: Plan) -> None:
    recovery.skip_to("event", chosen.next_event)
    recovery.skip_to("volume", chosen.next_id)
    older = Cluster.objects.filter(pk=1, incarnation__lte=survey.incarnation)
    older.update(incarnation=survey.incarnation + 1)


@write_lock()
def _end_old_work() -> None:
    """What was under way at the time of the dump ended long ago, in one way or another."""
    queue.cancel(Q(state=Job.State.OPEN), "the database was recovered from what nodes know")


def _by_volume(lost: Iterable[int]) -> Iterable[tuple[int, list[int]]]:
    """Sort replicas that are gone by their volumes; there may be more than one query can name."""
    gone = set(lost)
    by_volume: dict[int, list[int]] = defaultdict(list)
    for dextid, volume_id in Replica.objects.values_list("pk", "mirror__volume").iterator():
        if dextid in gone:
            by_volume[volume_id].append(dextid)
    return sorted(by_volume.items())


@write_lock()
def _drop_lost(volume_id: int, lost: Iterable[int]) -> None:
    """Let go of replicas that are nowhere any more."""
    gone = Replica.objects.filter(pk__in=list(lost), mirror__volume=volume_id)
    extents = list(gone.values_list("pk", flat=True))
    gone.delete()
    space.release(extents, exposed=True)


@write_lock()
def _delete(volume_id: int) -> None:
    """Forget a volume that was deleted since the dump; its snapshots were before it."""
    row = LogicalVolume.objects.filter(pk=volume_id).first()
    if row is None:
        return
    Attachment.objects.filter(volume=row).delete()
    audit.record(audit.Action.RECOVER_VOLUME, row, f"{row.name}: deleted since the dump")
    allocation.give_back(row)


@write_lock()
def _take_up_groups(survey: Survey) -> None:
    """What runs is attached where it is, at its epoch; of what does not, the epoch is over.

    The group of a head that did not answer stays as it was.
    """
    running = survey.running
    silent = [int(name[5:], 16) for name in survey.silent if name.startswith("hsvr-")]
    for row in LogicalVolume.objects.filter(origin=None):
        told = running.get(row.pk)
        if told is not None and told.group.epoch >= row.epoch:
            _attach(row.pk, told)
            continue
        over = Attachment.objects.filter(volume=row).exclude(head__in=silent)
        ended = over.delete()[0]
        epoch = max(row.epoch + bool(ended), survey.fences.get(row.pk, 0))
        if epoch > row.epoch:
            clean = row.closed_cleanly and not ended
            LogicalVolume.objects.filter(pk=row.pk).update(epoch=epoch, closed_cleanly=clean)


def _attach(volume_id: int, told: GroupTold) -> None:
    volume = LogicalVolume.objects.filter(pk=volume_id)
    volume.update(epoch=told.group.epoch, closed_cleanly=False)
    bound = {
        "head_id": told.head,
        "state": Attachment.State.BOUND,
        "error": "",
        "since": clock.now(),
    }
    Attachment.objects.update_or_create(volume_id=volume_id, defaults=bound)


@write_lock()
def _end(survey: Survey) -> None:
    """End recovery mode; who was left out is asked once it answers again."""
    AbsentNode.objects.all().delete()
    for node in survey.silent:
        kind = "storage_id" if node.startswith("ssvr-") else "head_id"
        AbsentNode.objects.create(**{kind: int(node[5:], 16)}, since=clock.now())
    recovery.leave()
