"""A disk arrives: a new one, one that comes back, one that was moved, or a copy."""

from inventory import disks, recovery
from inventory.disks import Copied
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
