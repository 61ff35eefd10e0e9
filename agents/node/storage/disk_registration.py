"""Make the manager know the disks of a registered storage server."""

import errno
import logging

from agents.node.manager_client import Fault, ManagerClient
from agents.node.registration import NotYet
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import OpenDisk

logger = logging.getLogger(__name__)


def register_disks(manager: ManagerClient, disks: Disks, ssvrid: int) -> None:
    """Register every disk that works; NotYet if one has to be tried again."""
    trouble = []
    for disk in disks:
        if disk.error:
            continue
        try:
            disk.number(_register(manager, disk, ssvrid))
        except Fault as fault:
            trouble.append(f"disk {disk.config.path}: {fault.errno} {fault}")
    if trouble:
        raise NotYet("; ".join(trouble))


def _register(manager: ManagerClient, disk: OpenDisk, ssvrid: int) -> int:
    try:
        return manager.number(
            "registerPhysicalDisk",
            ssvrid=ssvrid,
            local_path=disk.config.path,
            capacity=str(disk.sectors),
            disk_uuid=disk.uuid,
            tags=disk.config.tags,
            generation=disk.super_extent.newest_generation,
        )
    except Fault as fault:
        if fault.errno != errno.EEXIST:
            raise
    # Known and in use: the server was adopted, or an answer got lost.
    return disk.label.pdskid or _known_id(manager, disk, ssvrid)


def _known_id(manager: ManagerClient, disk: OpenDisk, ssvrid: int) -> int:
    for row in manager.rows("listPhysicalDisks", ssvrid=ssvrid):
        if row.get("local_path") == disk.config.path and type(row.get("pdskid")) is int:
            return int(row["pdskid"])
    raise NotYet(f"the manager knows disk {disk.uuid} but lists none at {disk.config.path}")
