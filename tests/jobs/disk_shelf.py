"""Disks with labels, to be put into simulated servers, which tell of them."""

from typing import TYPE_CHECKING
from xmlrpc.client import Fault

import pytest

from agents.protocol import DiskState, RefusedDisk
from inventory.models import Disk
from tests.jobs.simulated_storage import Storage
from volumes.models import Replica

if TYPE_CHECKING:
    from tests.jobs.conftest import Cluster


class Shelf:
    """Puts disks into servers and pulls them out."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster

    def put_in(self, name: str, node: Storage, path: str = "", copied: int = 0) -> int:
        """Put a disk into a server, which registers it."""
        path = path or f"/dev/{name}"
        pdskid: int = self.cluster.call(
            "registerPhysicalDisk",
            ssvrid=node.server_id,
            local_path=path,
            capacity=str(100 << 21),
            disk_uuid=name,
            copied=copied,
        )
        self.shows(node, name, path, pdskid)
        return pdskid

    def refused(self, name: str, node: Storage, copied: int = 0) -> int:
        """Put a disk into a server, which must not register it, and tells so; the fault."""
        with pytest.raises(Fault) as refused:
            self.put_in(name, node, copied=copied)
        node.refused = [RefusedDisk(f"/dev/{name}", refused.value.faultString, name)]
        return refused.value.faultCode

    def shows(self, node: Storage, name: str, path: str, pdskid: int) -> None:
        self.pull_out(name, node)
        node.disks.append(DiskState(name, path, pdskid, 100))

    def pull_out(self, name: str, node: Storage) -> None:
        node.disks = [disk for disk in node.disks if disk.disk != name]

    def of(self, replica: Replica) -> str:
        return self.cluster.disk_of(replica).disk_uuid

    def server_of(self, name: str) -> Storage:
        return self.cluster.world.storages[Disk.objects.get(disk_uuid=name).server_id]

    def empty_server(self) -> Storage:
        used = set(Disk.objects.values_list("server", flat=True))
        return next(node for pk, node in self.cluster.world.storages.items() if pk not in used)
