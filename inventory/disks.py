"""Disks register: new ones, those that come back, those that moved, and copies."""

from enum import IntEnum

from django.db import IntegrityError, transaction
from django.db.models import Q

from inventory import audit, clock, ids, recovery, space, whereabouts
from inventory.audit import Action
from inventory.errors import Busy, Exists, Invalid, Refused, TryAgain
from inventory.models import ALIVE, Disk, Extent, Priority, StorageServer
from inventory.servers import DOWN

SECTORS_PER_GB = 1 << 21
MOST_SECTORS = 1 << 63
SMALLEST_DISK_GB = 2
"""One for the label and its tables, one to use."""
FAILED = (
    "was declared failed and is not used again: once its replicas are elsewhere, delete it, and it"
    " is taken in as a new disk"
)


class Copied(IntEnum):
    """Whether a disk is a copy of the one for which its label was written; as on the wire."""

    NO = 0
    YES = 1
    ORIGINAL_IS_GONE = 2


def register_disk(
    *,
    server_id: int,
    local_path: str,
    capacity_sectors: int,
    disk_uuid: str = "",
    tags: str = "",
    generation: int = 0,
    copied: Copied = Copied.NO,
) -> Disk:
    """Find or record a disk of a server that is up.

    Exists: it is in use here already. Busy: it is in use on another server that is up, or it is a
    copy of one that may be.
    """
    if not 0 < capacity_sectors <= MOST_SECTORS:
        raise Invalid(f"a disk has 1 to {MOST_SECTORS} sectors, not {capacity_sectors}")
    if generation < 0:
        raise Invalid(f"generation is 0 or more, not {generation}")
    capacity_gb = capacity_sectors // SECTORS_PER_GB
    if capacity_gb < SMALLEST_DISK_GB:
        raise Invalid(f"{local_path} has {capacity_sectors} sectors: not one GiB beside its label")
    disk = Disk(
        server_id=server_id,
        local_path=local_path,
        capacity_gb=capacity_gb,
        disk_uuid=disk_uuid,
        tags=tags,
    )
    try:
        with transaction.atomic():
            return _record_disk(disk, generation, copied)
    except IntegrityError:
        # The rule of one replica per server holds for a disk that comes from elsewhere, too.
        server = StorageServer.objects.get(pk=server_id)
        raise Busy(
            f"{local_path} holds a replica of a mirror that has another on {server.label}:"
            " put it back where it was, or into a third server"
        ) from None


def _same_disk(disk: Disk) -> Q:
    if disk.disk_uuid:
        return Q(disk_uuid=disk.disk_uuid)
    return Q(disk_uuid="", local_path=disk.local_path)


def _record_disk(disk: Disk, generation: int, copied: Copied) -> Disk:
    # The server cannot go down unseen now: a priority changes only under this lock.
    ids.lock("volume")
    server = StorageServer.objects.filter(pk=disk.server_id).first()
    if server is None or server.priority not in ALIVE:
        state = "does not exist" if server is None else f"is {server.get_priority_display()}"
        raise Invalid(f"storage server {disk.server_id} {state}")
    known = Disk.objects.select_related("server").filter(_same_disk(disk)).first()
    if known is None:
        (disk.id,) = ids.take("disk")
        disk.priority_since = clock.now()
        disk.save(force_insert=True)
        space.tile(disk, generation)
        detail = f"new, {disk.capacity_gb} GiB, {disk.local_path} of {server.label}"
        audit.record(Action.REGISTER_DISK, disk, detail)
        return disk
    _refuse_known(known, disk, copied)
    return _return_disk(known, disk, copied)


def _refuse_known(known: Disk, disk: Disk, copied: Copied) -> None:
    """Refuse a disk that is in use, was declared failed, or is another one with its label."""
    if known.server_id != disk.server_id:
        _refuse_elsewhere(known, disk, copied)
    elif known.priority not in DOWN and not copied:
        # A copy takes the place of an original that its agent does not see beside it.
        said = FAILED if known.priority == Priority.FAULTY else "is registered and in use"
        raise Exists(f"{known} {said}")
    if disk.capacity_gb < known.capacity_gb:
        raise Invalid(f"{known} had {known.capacity_gb} GiB and now has {disk.capacity_gb}")


def _refuse_elsewhere(known: Disk, disk: Disk, copied: Copied) -> None:
    """Refuse a disk that was in another server, unless it is surely not there any more."""
    up = known.server.priority in ALIVE
    if up and known.priority in ALIVE:
        raise _in_use(known)
    if known.priority == Priority.FAULTY and copied != Copied.ORIGINAL_IS_GONE:
        raise (Busy if up else Exists)(f"{known} of {known.server} {FAILED}")
    if whereabouts.is_second(disk):
        raise Busy(
            f"it was here while {known} was in use on {known.server}, and bears its label: it is"
            " a copy. If it is to replace that one, take both out, and put this one in again"
        )
    if copied == Copied.YES and not up:
        raise Busy(
            f"it is a copy of {known}, which may still be in {known.server}, and that is"
            f" {known.server.get_priority_display()}: put the copy into that server, or say"
            " accept_copy = true of it here if the original is gone for good"
        )


def _in_use(known: Disk) -> Refused:
    """Say why a disk is not taken from a server that is up, if that is known yet."""
    said = f"{known} is in use on {known.server}, which is up"
    if recovery.why():
        return TryAgain(f"{said}, by a database that has to be recovered first")
    return Busy(
        f"{said}: this is a copy of it, or a second way to it. Leave it in one server only;"
        " a disk moves once it was taken out there"
    )


def _return_disk(known: Disk, disk: Disk, copied: Copied) -> Disk:
    """Make a known disk usable, where it is now; a capacity that grew stays unused."""
    bad = (Extent.Status.FAULTY, Extent.Status.EVACUATE)
    spoilt = Extent.objects.filter(disk=known, status__in=bad).exists()
    as_seen = Disk.objects.filter(pk=known.pk, priority=known.priority, server=known.server_id)
    if not as_seen.update(
        server=disk.server_id,
        local_path=disk.local_path,
        tags=disk.tags or known.tags,
        priority=Priority.LOW if spoilt else Priority.HIGH,
        priority_since=clock.now(),
    ):
        raise Exists(f"{known} is being registered already")
    where = f"{disk.local_path} of {StorageServer(pk=disk.server_id)}"
    moved = f", moved from {known.server}" if known.server_id != disk.server_id else ""
    as_a_copy = ", a copy" if copied else ""
    audit.record(Action.REGISTER_DISK, known, f"again, {where}{moved}{as_a_copy}")
    return Disk.objects.get(pk=known.pk)
