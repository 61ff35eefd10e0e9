"""A volume's rows become what its disks tell; one transaction each."""

from datetime import UTC, datetime

from agents.protocol import LOST, Reason
from inventory import audit, clock, ids, recovery, space
from inventory.models import Extent
from inventory.write_lock import write_lock
from volumes.models import LogicalVolume, Mirror, Replica
from volumes.recovery import quarantine
from volumes.recovery.recovery_plan import ReplicaPlace, VolumeRecovery
from volumes.replicas import states

Status = Replica.Status


@write_lock()
def take_up(volume: VolumeRecovery) -> None:
    """Make a volume's rows what its disks tell."""
    _free_numbers({number for place in volume.places for number in place.numbers})
    row = _volume_row(volume)
    for place in volume.places:
        _take_up_replica(row, place, volume.newest[place.found.mirrorid])
    if row.origin_id is None:
        clean = all(place.found.mark.clean for place in volume.places)
        LogicalVolume.objects.filter(pk=row.pk).update(closed_cleanly=clean)
    quarantine.forget(row.pk, [place.dextid for place in volume.places])
    recovery.count_as_ours("volume", _numbers(row))
    audit.record(audit.Action.RECOVER_VOLUME, row, volume.name)


def _free_numbers(numbers: set[int]) -> None:
    """Name by other numbers what no node knows by these; they may have been given out again."""
    space.yield_numbers(numbers)
    for field in ("node_id", "linear_id"):
        for other in LogicalVolume.objects.filter(**{f"{field}__in": numbers}):
            LogicalVolume.objects.filter(pk=other.pk).update(**{field: ids.take("volume")[0]})


def _numbers(row: LogicalVolume) -> set[int]:
    """Tell the numbers of a volume that nodes may speak of."""
    replicas = Replica.objects.filter(mirror__volume=row).values_list("pk", "mirror")
    return {row.pk, *(number for pair in replicas for number in pair)}


def _volume_row(volume: VolumeRecovery) -> LogicalVolume:
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


def _take_up_replica(row: LogicalVolume, place: ReplicaPlace, newest: int) -> None:
    """Record where a replica is, and whether it is one of the newest."""
    found = place.found
    good = found.mark.events == newest
    replica = Replica.objects.filter(pk=place.dextid).first()
    if replica is None:
        if not Mirror.objects.filter(pk=found.mirrorid, volume=row).exists():
            quarantine.note(place, "its volume has no such mirror here")
            return
        if not space.adopt(quarantine.piece(place, place.dextid), Extent.Status.BUSY):
            quarantine.note(place, "its space is in use by another one here")
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
