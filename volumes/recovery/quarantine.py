"""What cannot be decided is neither used nor zeroed, until somebody says that nobody needs it."""

from collections.abc import Iterable, Sequence

from django.db.models import Q

from inventory import audit, clock, ids, recovery, space
from inventory.errors import NotFound
from inventory.models import Disk, Extent
from inventory.write_lock import write_lock
from volumes import labels
from volumes.jobs import queue
from volumes.models import Job, Orphan, Replica
from volumes.recovery.recovery_plan import ReplicaPlace

NAMED = 8


@write_lock()
def give_up(place: ReplicaPlace) -> None:
    """Have the space of a replica zeroed that others have replaced."""
    if not Extent.objects.filter(pk=place.dextid).exists():
        space.adopt(piece(place, place.dextid), Extent.Status.OFFLINE)
    recovery.count_as_ours("volume", [place.dextid])


@write_lock()
def keep(place: ReplicaPlace, reason: str) -> None:
    """Keep everybody from what cannot be decided: it is neither used nor zeroed."""
    number = place.dextid
    taken = number == 0 or Extent.objects.filter(pk=number).exists()
    if taken:
        number = ids.take("volume")[0]
    space.adopt(piece(place, number), Extent.Status.FAULTY)
    note(place, reason)


def forget(lvolid: int, dextids: Iterable[int]) -> None:
    """Strike off replicas that were taken up after all, once the rest of their volume was found."""
    taken = Replica.objects.filter(pk__in=list(dextids)).values("pk")
    Orphan.objects.filter(kind=Orphan.Kind.REPLICA, lvolid=lvolid, dextid__in=taken).delete()


@write_lock()
def release(lvolid: int) -> int:
    """Have what is in quarantine of a volume zeroed, by an operator's word; how many replicas."""
    return _release(list(Orphan.objects.filter(kind=Orphan.Kind.REPLICA, lvolid=lvolid)))


@write_lock()
def release_one(orphan: Orphan) -> None:
    """Have one replica in quarantine zeroed, by an operator's word."""
    kept = list(Orphan.objects.filter(kind=Orphan.Kind.REPLICA, pk=orphan.pk))
    if not kept:
        raise NotFound(f"{orphan} is not in quarantine any more")
    _release(kept)


def _release(kept: Sequence[Orphan]) -> int:
    """Release replicas of one volume."""
    works = []
    for orphan in kept:
        extents = Extent.objects.filter(
            disk=disk_of(orphan.disk), offset_gb=orphan.at_gb, status=Extent.Status.FAULTY
        )
        for extent in extents:
            space_of = f"dext-{extent.pk:08x}: {extent.size_gb} GB of {orphan.name}, released"
            works.append({"subject": space_of, "extent_id": extent.pk, "forced": True})
        extents.update(status=Extent.Status.OFFLINE)
        recovery.count_as_ours("volume", [orphan.dextid])
    if works:
        named = ", ".join(f"dext-{orphan.dextid:08x} on {orphan.place}" for orphan in kept[:NAMED])
        subject = f"lvol-{kept[0].lvolid:08x}"
        whose = f" of {kept[0].name}" if kept[0].name else ""
        detail = labels.in_text(f"{len(works)} replicas{whose}: {named}")
        audit.record(audit.Action.RELEASE, subject, detail)
    Orphan.objects.filter(pk__in=[orphan.pk for orphan in kept]).delete()
    return queue.submit_all(Job.Kind.SHRED, works)


def note(place: ReplicaPlace, reason: str) -> None:
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


def piece(place: ReplicaPlace, number: int) -> space.CutExtent:
    """Name the space of a replica; of a mark alone only the GB beside it is known."""
    found = place.found
    return space.CutExtent(
        extent_id=number,
        disk_id=disk_of(place.disk),
        offset_gb=found.at_gb,
        size_gb=max(found.size_gb, 1),
        generation=found.generation,
    )


def disk_of(name: str) -> int:
    return Disk.objects.values_list("pk", flat=True).get(
        Q(disk_uuid=name) | Q(disk_uuid="", local_path=name)
    )
