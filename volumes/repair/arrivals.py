"""A disk arrives: a new one, one that comes back, one that was moved, or a copy."""

from contextlib import suppress

from inventory import disks, recovery
from inventory.disks import Copied
from inventory.errors import Refused
from inventory.models import Disk
from inventory.write_lock import write_lock
from volumes.repair import failures, shred


@write_lock()
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
    """Find or record a disk (`inventory.disks`) and have its space shredded from then on."""
    disk = disks.register_disk(
        server_id=server_id,
        local_path=local_path,
        capacity_sectors=capacity_sectors,
        disk_uuid=disk_uuid,
        tags=tags,
        generation=generation,
        copied=copied,
    )
    if copied:
        failures.distrust(disk)
    if not recovery.why():
        shred.request_missing(shred.AT_ONCE, disk=disk)
    return disk


def register_again(disk: Disk) -> None:
    """Bring a disk back into service that is where it was."""
    with suppress(Refused):  # it was moved, or its server went, just now
        register_disk(
            server_id=disk.server_id,
            local_path=disk.local_path,
            capacity_sectors=disk.capacity_gb * disks.SECTORS_PER_GB,
            disk_uuid=disk.disk_uuid,
        )
