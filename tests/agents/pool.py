"""Two storage nodes for a head, and what their agents and the head's are told."""

from collections.abc import Callable
from typing import Any

from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    ExportOrder,
    MirrorSpec,
    ReplicaSpec,
    ReplicaState,
    SnapshotOrder,
    export_name,
)
from deploy.local.nbd import NbdClient

LVOL, MIRROR, SNAP, SNAP_MIRROR = 50, 60, 70, 80


class Pool:
    """Two storage nodes; replica 100 of the volume on one, 101 on the other."""

    def __init__(self, make_node: Callable[[], Any]) -> None:
        self.nodes = [make_node(), make_node()]
        for node in self.nodes:
            node.start()
            node.registered()

    def replica(
        self, number: int, dextid: int, offset_gb: int, epoch: int, size_gb: int = 1
    ) -> ReplicaSpec:
        """Export an extent for the epoch; how a head is to use it."""
        node = self.nodes[number]
        extent = node.extent(offset_gb, size_gb, dextid=dextid)
        reply = node.agent.export(ExportOrder(1, 1, LVOL, epoch, "s", (extent,)))
        assert reply.refused == {}
        name = export_name(dextid, epoch, "s")
        return ReplicaSpec(
            dextid, tuple(node.settings["addresses"]), reply.port, name, ReplicaState.INSYNC
        )

    def device(self, epoch: int) -> DeviceSpec:
        replicas = (self.replica(0, 100, 0, epoch), self.replica(1, 101, 0, epoch))
        return DeviceSpec(
            LVOL, ("db",), 1, (MirrorSpec(MIRROR, 1, 0, dirty=False, replicas=replicas),)
        )

    def attach_order(self, eventid: int = 1, epoch: int = 1) -> AttachOrder:
        return AttachOrder(eventid, 1, 1, LVOL, epoch, (self.device(epoch),))

    def snapshot_order(self, eventid: int = 2) -> SnapshotOrder:
        replicas = (self.replica(0, 102, 1, 1, size_gb=2),)
        mirror = MirrorSpec(SNAP_MIRROR, 2, 0, dirty=False, replicas=replicas)
        return SnapshotOrder(eventid, 1, 1, LVOL, 1, DeviceSpec(SNAP, ("was",), 1, (mirror,)))


def open_device(head: Any, label: str = "db") -> NbdClient:
    return NbdClient(head.links / label, timeout=20)
