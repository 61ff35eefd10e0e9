"""Carry out a recovery: one transaction for each volume, and all of it may be done again."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Q

from agents.protocol import LOST, Reason
from inventory import audit, clock, ids, recovery, space
from inventory.models import Cluster, Disk, Extent
from inventory.write_lock import write_lock
from volumes.jobs import queue
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Orphan, Replica
from volumes.placement import allocation
from volumes.recovery import plan as planning
from volumes.recovery.plan import Held, HeldReplica, Place, Plan, VolumePlan
from volumes.recovery.survey import GroupTold, Survey
from volumes.replicas import states

Status = Replica.Status
Say = Callable[[str], object]


def held() -> Held:
    """Read what the rows say, for planning."""
    rows = Replica.objects.values_list(
        "pk",
        "mirror__volume",
        "mirror",
        "mirror__volume__created",
        "extent__disk__disk_uuid",
        "extent__disk__local_path",
        "extent__offset_gb",
        "extent__size_gb",
        "extent__generation",
        "status",
    )
    volumes = LogicalVolume.objects.values_list("pk", "created", "name")
    return Held(
        replicas=[
            HeldReplica(
                dextid=pk,
                volume=volume,
                mirror=mirror,
                born=int(created.timestamp()),
                disk=uuid or path,
                at_gb=at_gb,
                size_gb=size_gb,
                generation=generation,
                fresh=status == Status.ALLOCATED,
            )
            for pk, volume, mirror, created, uuid, path, at_gb, size_gb, generation, status in rows
        ],
        births={pk: int(created.timestamp()) for pk, created, _ in volumes},
        names={name: pk for pk, _, name in volumes},
        next_id=ids.next_of("volume"),
        gaps=recovery.gaps("volume"),
    )


def carry_out(survey: Survey, chosen: Plan, say: Say) -> None:
    """Do all that is planned, and end recovery mode."""
    _raise_counters(survey, chosen)
    say("counters and incarnation are above all that was told")
    _end_old_work()
    for volume_id, lost in _by_volume(chosen.lost):
        _drop_lost(volume_id, lost)
    for volume_id in _snapshots_first(chosen.deleted):
        _delete(volume_id)
    for volume in chosen.volumes:
        _take_up(volume)
        say(f"lvol-{volume.about.lvolid:08x} {volume.name}: {len(volume.places)} replicas")
    for place in chosen.surplus:
        _give_up(place)
    for place, reason in chosen.quarantined.items():
        _quarantine(place, reason)
    for disk in survey.disks:
        space.doubt_free(_disk(disk.name), disk.generation)
    _take_up_groups(survey)
    recovery.leave()


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


def _snapshots_first(volumes: Iterable[int]) -> list[int]:
    rows = LogicalVolume.objects.filter(pk__in=list(volumes)).order_by("-pk")
    return list(rows.values_list("pk", flat=True))


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
def _take_up(volume: VolumePlan) -> None:
    """Make a volume's rows what its disks tell."""
    row = _volume_row(volume)
    for place in volume.places:
        _take_up_replica(row, place, volume.newest[place.found.mirrorid])
    if row.origin_id is None:
        clean = all(place.found.mark.clean for place in volume.places)
        LogicalVolume.objects.filter(pk=row.pk).update(closed_cleanly=clean)
    recovery.count_as_ours("volume", _numbers(row))
    audit.record(audit.Action.RECOVER_VOLUME, row, volume.name)


def _numbers(row: LogicalVolume) -> set[int]:
    """Tell the numbers of a volume that nodes may speak of."""
    replicas = Replica.objects.filter(mirror__volume=row).values_list("pk", "mirror")
    return {row.pk, *(number for pair in replicas for number in pair)}


def _volume_row(volume: VolumePlan) -> LogicalVolume:
    about = volume.about
    known = LogicalVolume.objects.filter(pk=about.lvolid).first()
    if known is not None:
        return known
    node_id, linear_id = ids.take("volume", 2)
    row = LogicalVolume.objects.create(
        id=about.lvolid,
        node_id=node_id,
        linear_id=linear_id,
        name=volume.name,
        capacity_gb=about.capacity_gb,
        store_gb=about.store_gb,
        redundancy=about.redundancy,
        origin_id=about.origin or None,
    )
    born = datetime.fromtimestamp(about.created, UTC)
    LogicalVolume.objects.filter(pk=row.pk).update(created=born)
    spans = {(p.found.mirrorid, p.found.offset_gb, p.found.size_gb) for p in volume.places}
    Mirror.objects.bulk_create(
        Mirror(id=number, volume=row, offset_gb=offset_gb, size_gb=size_gb)
        for number, offset_gb, size_gb in sorted(spans)
    )
    return row


def _take_up_replica(row: LogicalVolume, place: Place, newest: int) -> None:
    """Record where a replica is, and whether it is one of the newest."""
    found = place.found
    good = found.mark.events == newest
    replica = Replica.objects.filter(pk=place.dextid).first()
    if replica is None:
        if not Mirror.objects.filter(pk=found.mirrorid, volume=row).exists():
            _note(place, "its volume has no such mirror here")
            return
        if not space.adopt(_piece(place, place.dextid), Extent.Status.BUSY):
            _note(place, "its space is in use by another one here")
            return
        replica = Replica.objects.create(
            extent_id=place.dextid,
            mirror_id=found.mirrorid,
            server_id=place.server,
            status=_status(newest, good=good),
            reason=Reason.NONE if good else Reason.STALE,
            since=clock.now(),
        )
    Replica.objects.filter(pk=replica.pk).update(events=found.mark.events)
    if not found.mark.epoch:
        return  # no head was there
    Replica.objects.filter(pk=replica.pk).move(Status.ALLOCATED, Status.NEEDSHRED)
    if good and replica.reason not in LOST:
        Replica.objects.filter(pk=replica.pk).move(Status.NEEDSHRED, Status.INSYNC)
        states.mark_in_sync([replica.pk])
    elif not good:
        states.mark_out_of_sync([replica.pk], Reason.STALE)


def _status(newest: int, *, good: bool) -> Status:
    """Of a mirror that no head has used, a replica is new."""
    if not newest:
        return Status.ALLOCATED
    return Status.INSYNC if good else Status.FAULTY


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
def _give_up(place: Place) -> None:
    """Have the space of a replica zeroed that others have replaced."""
    if not Extent.objects.filter(pk=place.dextid).exists():
        space.adopt(_piece(place, place.dextid), Extent.Status.OFFLINE)
    recovery.count_as_ours("volume", [place.dextid])


@write_lock()
def _quarantine(place: Place, reason: str) -> None:
    """Keep everybody from what cannot be decided: it is neither used nor zeroed."""
    number = place.dextid
    taken = number == 0 or Extent.objects.filter(pk=number).exists()
    if taken:
        number = ids.take("volume")[0]
    space.adopt(_piece(place, number), Extent.Status.FAULTY)
    _note(place, reason)


@write_lock()
def release(lvolid: int) -> int:
    """Have what lies in quarantine of a volume zeroed, by an operator's word; how much that is."""
    kept = Orphan.objects.filter(kind=Orphan.Kind.REPLICA, lvolid=lvolid)
    works = []
    for orphan in kept:
        extents = Extent.objects.filter(
            disk=_disk(orphan.disk), offset_gb=orphan.at_gb, status=Extent.Status.FAULTY
        )
        for extent in extents:
            space_of = f"dext-{extent.pk:08x}: {extent.size_gb} GB of {orphan.name}, released"
            works.append({"subject": space_of, "extent_id": extent.pk, "forced": True})
        extents.update(status=Extent.Status.OFFLINE)
        recovery.count_as_ours("volume", [orphan.dextid])
    if works:
        audit.record(audit.Action.RELEASE, f"lvol-{lvolid:08x}", f"{len(works)} replicas")
    kept.delete()
    return queue.submit_all(Job.Kind.SHRED, works)


def _note(place: Place, reason: str) -> None:
    Orphan.objects.get_or_create(
        kind=Orphan.Kind.REPLICA,
        server=place.server,
        lvolid=place.found.volume.lvolid,
        epoch=place.found.mark.epoch,
        dextid=place.dextid,
        disk=place.disk,
        at_gb=place.found.at_gb,
        defaults={
            "name": place.found.volume.name,
            "reason": reason[:200],
            "since": clock.now(),
        },
    )


def _piece(place: Place, number: int) -> space.Piece:
    """Name the space of a replica; of a mark alone only the GB beside it is known."""
    found = place.found
    return space.Piece(
        extent_id=number,
        disk_id=_disk(place.disk),
        offset_gb=found.at_gb,
        size_gb=max(found.size_gb, 1),
        generation=found.generation,
    )


def _disk(name: str) -> int:
    return Disk.objects.values_list("pk", flat=True).get(
        Q(disk_uuid=name) | Q(disk_uuid="", local_path=name)
    )


def plan_now(survey: Survey) -> Plan:
    """Plan with the rows as they are."""
    with transaction.atomic():
        return planning.make(survey, held())
