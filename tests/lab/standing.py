"""How a volume stands in the lab: which guests and disks hold it, and whether it is whole."""

import errno
from typing import Any
from xmlrpc.client import Fault

from deploy.local import observe
from tests.lab.cluster import VirtualLab
from tests.lab.guest import Guest

ROWS = {"head": ("listHeadServers", "hsvrid"), "storage": ("listStorageServers", "ssvrid")}


def server(lab: VirtualLab, guest: Guest) -> int:
    """Tell the number that the manager gave to a guest."""
    method, key = ROWS[guest.machine.role]
    rows = lab.call(method)
    return int(next(row[key] for row in rows if row["ip_data"] == guest.machine.addresses))


def holders(lab: VirtualLab, name: str) -> list[Guest]:
    """Name the storage servers that hold replicas of a volume."""
    numbers = {place["ssvrid"] for place in _places(lab, name)}
    return [guest for guest in lab.storages if server(lab, guest) in numbers]


def disks(lab: VirtualLab, name: str) -> set[int]:
    """Name the disks that hold replicas of a volume."""
    return {place["pdskid"] for place in _places(lab, name)}


def holder_on(lab: VirtualLab, path: str, name: str) -> tuple[int, Guest]:
    """Find a disk at this path that holds a replica, and its server."""
    found = disks(lab, name)
    rows = lab.call("listPhysicalDisks")
    row = next(row for row in rows if row["pdskid"] in found and row["local_path"] == path)
    return row["pdskid"], next(g for g in lab.storages if server(lab, g) == row["ssvrid"])


def priority(lab: VirtualLab, disk: int) -> int:
    """Tell whether a disk is used: observe.HIGH if so."""
    rows = lab.call("listPhysicalDisks")
    return int(next(row["priority"] for row in rows if row["pdskid"] == disk))


def is_attached(lab: VirtualLab, name: str) -> bool:
    """Tell whether a volume is attached, or on its way."""
    (volume,) = lab.call("listLogicalVolumes", lvolname=name)
    return (volume["bind_status"], volume["bind_event"]) != (0, 0)


def detach(lab: VirtualLab, name: str) -> None:
    """Detach a volume, as soon as the kernel has let go of its device."""

    def is_detached() -> bool:
        try:
            lab.call("detachLogicalVolume", lvolname=name)
        except Fault as fault:
            if fault.faultCode in {errno.EBUSY, errno.EAGAIN}:
                return False
            raise
        return True

    observe.wait(is_detached, f"{name} is not in use any more", 30)


def is_whole(lab: VirtualLab, name: str) -> bool:
    """Tell whether each mirror of a volume has all its replicas in sync, and no other."""
    mirrors = observe.mirrors(lab.call, name)
    good = observe.in_sync(lab.call, name)
    return good == len(observe.replicas(lab.call, name)) == 3 * len(mirrors)


def _places(lab: VirtualLab, name: str) -> list[dict[str, Any]]:
    return [replica["lvolspec"] for replica in observe.replicas(lab.call, name)]
