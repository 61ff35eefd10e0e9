"""Disks register: new ones, those that come back, and those that moved."""

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


def register_disk(
    *,
    server_id: int,
    local_path: str,
    capacity_sectors: int,
    disk_uuid: str = "",
    tags: str = "",
    generation: int = 0,
) -> Disk:
    """Find or record a disk of a server that is up.

    Exists: it is in use here already. Busy: it is in use on another server that is up.
    """
    if not 0 < capacity_sectors <= MOST_SECTORS:
        raise Invalid(f"a disk has 1 to {MOST_SECTORS} sectors, not {capacity_sectors}")
    if generation < 0:
        raise Invalid(f"generation is 0 or more, not {generation}")
    capacity_gb = capacity_sectors // SECTORS_PER_GB
    if capacity_gb < SMALLEST_DISK_GB:
        raise Invalid(f"{local_path} has {capacity_sectors} sectors: not one GB beside its label")
    disk = Disk(
        server_id=server_id,
        local_path=local_path,
        capacity_gb=capacity_gb,
        disk_uuid=disk_uuid,
        tags=tags,
    )
    try:
        with transaction.atomic():
            return _record_disk(disk, generation)
    except IntegrityError:
        # The rule of one replica per server holds for a disk that comes from elsewhere, too.
        raise Busy(
            f"{local_path} holds a replica of a mirror that has another on ssvr-{server_id:08x}:"
            " put it back where it was, or into a third server"
        ) from None


def _same_disk(disk: Disk) -> Q:
    if disk.disk_uuid:
        return Q(disk_uuid=disk.disk_uuid)
    return Q(disk_uuid="", local_path=disk.local_path)


def _record_disk(disk: Disk, generation: int) -> Disk:
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
        detail = f"new, {disk.capacity_gb} GB, {disk.local_path} of {server}"
        audit.record(Action.REGISTER_DISK, disk, detail)
        return disk
    _refuse_known(known, disk)
    return _return_disk(known, disk)


def _refuse_known(known: Disk, disk: Disk) -> None:
    """Refuse a disk that is in use, or was declared failed, or is another one with its label."""
    down = known.priority in DOWN
    elsewhere = known.server_id != disk.server_id
    if elsewhere and not down and known.server.priority in ALIVE:
        raise _in_use_elsewhere(known)
    if known.priority == Priority.FAULTY:
        raise Exists(f"{known} {FAILED}")
    if elsewhere and whereabouts.is_second(disk):
        raise Busy(
            f"it was here while {known} was in use on {known.server}, and bears its label: it is"
            " a copy. If it is to replace that one, take both out, and put this one in again"
        )
    if not down and not elsewhere:
        raise Exists(f"{known} is registered and {known.get_priority_display()}")
    if disk.capacity_gb < known.capacity_gb:
        raise Invalid(f"{known} had {known.capacity_gb} GB and now has {disk.capacity_gb}")


def _in_use_elsewhere(known: Disk) -> Refused:
    """Say why a disk is not taken from a server that is up, if that is known yet."""
    if known.priority == Priority.FAULTY:
        return Busy(f"{known} of {known.server} {FAILED}")
    said = f"{known} is in use on {known.server}, which is up"
    if recovery.why():
        return TryAgain(f"{said}, by a database that has to be recovered first")
    return Busy(
        f"{said}: this is a copy of it, or a second way to it. Leave it in one server only;"
        " a disk moves once it was taken out there"
    )


def _return_disk(known: Disk, disk: Disk) -> Disk:
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
    audit.record(Action.REGISTER_DISK, known, f"again, {where}{moved}")
    return Disk.objects.get(pk=known.pk)
