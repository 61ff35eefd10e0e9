"""Rows become the structs of version 5; the numbers of the wire that no model has live here."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple

from django.db.models import Q

from agents.engines.kernel import iscsi_names as iscsi
from agents.xmlrpc import INT_MAX
from inventory.errors import NotFound
from inventory.pages import ALL, Page
from volumes.models import Attachment, Replica
from volumes.reports import tree
from volumes.reports.tree import DiskRow, MirrorReplicaRow, VolumeRow

Struct = dict[str, Any]

SHOWN_AS_ALLOCATED = Replica.Status.NEEDSHRED


class VolumeType(IntEnum):
    """lvoltype."""

    LVOL = 0
    LINEAR = 1
    MIRROR = 2
    DEXT = 3
    SNAPSHOT_ORIGIN = 6
    SNAPSHOT = 7


BIND: dict[str, tuple[int, int]] = {
    "": (0, 0),
    Attachment.State.BINDING: (0, 1),
    Attachment.State.BOUND: (1, 0),
    Attachment.State.UNBINDING: (1, 2),
    Attachment.State.ERROR: (2, 0),
}
"""bind_status and bind_event: UNBOUND 0, BOUND 1, ERROR 2; BINDING 1, UNBINDING 2."""
DETACHED = ("", 0)


class _Places(NamedTuple):
    """Where extents are served: the addresses and the iSCSI targets of storage servers."""

    addresses: dict[int, list[str]]
    targets: dict[int, str]

    def of(self, server_id: int, dextid: int) -> list[str]:
        """Name an extent by both addresses: what an initiator can log in to, where there is one."""
        target, addresses = self.targets.get(server_id), self.addresses.get(server_id, [])
        if target is None:
            return _paths(addresses, f"dext-{dextid:08x}")
        port, name = target.split("/")
        unit = iscsi.unit(dextid)
        return [
            f"iscsi://{address}:{port}/{name}/{unit}" if address else ""
            for address in _both(addresses)
        ]


def volume_list(page: Page = ALL) -> list[Struct]:
    """Describe all volumes, or a page of them, as listLogicalVolumes answers."""
    rows = tree.volumes(Q(), page)
    ids = [row.id for row in rows]
    group, mirror, snapshots = Q(), Q(), rows
    if page.limit:
        group = Q(volume__in={row.origin_id or row.id for row in rows})
        mirror, snapshots = Q(mirror__volume__in=ids), tree.volumes(Q(origin__in=ids))
    attachments, faulty = tree.attachments(group), tree.faulty_volumes(mirror)
    children: dict[int, list[Struct]] = defaultdict(list)
    for row in snapshots:
        if row.origin_id:
            children[row.origin_id].append(_association(row.id))
    return [
        _volume(
            row,
            attachments.get(row.origin_id or row.id, DETACHED),
            children.get(row.id, []),
            fault=row.id in faulty,
        )
        for row in rows
    ]


def volume_entry(*, lvolid: int = 0, lvolname: str = "") -> Struct:
    """Describe one volume, by its id or else by its name, as listLogicalVolumes answers."""
    volume, *snapshots = tree.with_snapshots(lvolid=lvolid, lvolname=lvolname)
    group_id = volume.origin_id or volume.id
    return _volume(
        volume,
        tree.attachments(Q(volume=group_id)).get(group_id, DETACHED),
        [_association(snapshot.id) for snapshot in snapshots],
        fault=tree.is_faulty(volume.id),
    )


def volume_tree(*, lvolid: int = 0, lvolname: str = "") -> Struct:
    """Describe the nodes of which a volume consists, as showLogicalVolume answers.

    The associated volumes are described as fully, but for their own associations: the way back.
    """
    volume, *snapshots = tree.with_snapshots(lvolid=lvolid, lvolname=lvolname)
    origins = tree.volumes(Q(pk=volume.origin_id)) if volume.origin_id else []
    group = [volume, *origins, *snapshots]
    nodes = {row.id: row.node_id for row in group}
    replicas = tree.replicas(list(nodes))
    places = _Places(tree.addresses("storage"), tree.iscsi_targets(volume.origin_id or volume.id))
    root, *associated = [
        _lvol(row, nodes.get(row.origin_id or 0), replicas[row.id], places) for row in group
    ]
    root["lvolspec"]["assoc"] = associated
    return root


def head_list(head_id: int, page: Page = ALL) -> list[Struct]:
    """Describe one head server, or all, as listHeadServers answers."""
    rows = tree.heads(Q(pk=head_id)) if head_id else tree.heads(Q(), page)
    if head_id and not rows:
        raise NotFound(f"there is no head server {head_id}")
    addresses, rebuilds = tree.addresses("head"), tree.rebuilds_by_head()
    return [
        {
            "hsvrid": row.id,
            "priority": row.priority,
            "ip_data": _both(addresses.get(row.id, [])),
            "resync": rebuilds.get(row.id, 0),
        }
        for row in rows
    ]


def storage_list(storage_id: int, page: Page = ALL) -> list[Struct]:
    """Describe one storage server, or all, as listStorageServers answers."""
    rows = tree.storages(Q(pk=storage_id)) if storage_id else tree.storages(Q(), page)
    if storage_id and not rows:
        raise NotFound(f"there is no storage server {storage_id}")
    addresses, rebuilds = tree.addresses("storage"), tree.rebuilds_by_storage()
    capacity, available = _room_by_server(tree.disks(Q(server=storage_id) if storage_id else Q()))
    return [
        {
            "ssvrid": row.id,
            "priority": row.priority,
            "ip_data": _both(addresses.get(row.id, [])),
            "resync": rebuilds.get(row.id, 0),
            "available": min(available[row.id], INT_MAX),
            "capacity": min(capacity[row.id], INT_MAX),
        }
        for row in rows
    ]


def disk_list(storage_id: int, page: Page = ALL) -> list[Struct]:
    """Describe the disks of one storage server, or all, as listPhysicalDisks answers."""
    if storage_id and not tree.storages(Q(pk=storage_id)):
        raise NotFound(f"there is no storage server {storage_id}")
    addresses, rebuilds = tree.addresses("storage"), tree.rebuilds_by_disk()
    available = tree.available_gb()
    return [
        {
            "ssvrid": row.server_id,
            "pdskid": row.id,
            "priority": row.priority,
            "iscsi_path": _paths(addresses.get(row.server_id, []), f"pdsk-{row.id:08x}"),
            "local_path": row.local_path,
            "resync": rebuilds.get(row.id, 0),
            "available": min(available.get(row.id, 0), INT_MAX),
            "capacity": min(row.capacity_gb, INT_MAX),
        }
        for row in tree.disks(Q(server=storage_id) if storage_id else Q(), page)
    ]


def _volume(
    row: VolumeRow, attachment: tuple[str, int], snapshots: list[Struct], *, fault: bool
) -> Struct:
    state, head_id = attachment
    bind_status, bind_event = BIND[state]
    return {
        "hsvrid": head_id,
        "lvolid": row.id,
        "lvolname": row.name,
        "redundancy": row.redundancy,
        "capacity": row.capacity_gb,
        "associated_to": [_association(row.origin_id)] if row.origin_id else [],
        "associated_from": snapshots,
        "fault": fault or row.broken,
        "bind_status": bind_status,
        "bind_event": bind_event,
        "ctime": _ctime(row.created),
    }


def _association(lvolid: int) -> Struct:
    return {"lvolid": lvolid, "type": "snapshot"}


def _lvol(
    row: VolumeRow,
    origin_node_id: int | None,
    replicas: Sequence[MirrorReplicaRow],
    places: _Places,
) -> Struct:
    mirrors: dict[int, Struct] = {}
    for replica in replicas:
        mirror = mirrors.setdefault(
            replica.mirror_id, _node(replica.mirror_id, VolumeType.MIRROR, replica.mirror_gb)
        )
        if replica.dextid is not None:
            mirror["components"].append(_dext(replica, replica.dextid, places))
    linear = _node(row.linear_id, VolumeType.LINEAR, row.store_gb)
    linear["components"] = list(mirrors.values())
    kind = VolumeType.SNAPSHOT if origin_node_id else VolumeType.SNAPSHOT_ORIGIN
    middle = _node(row.node_id, kind, row.capacity_gb)
    middle["lvolspec"] = {"origin_lvolid": origin_node_id} if origin_node_id else {}
    middle["components"] = [linear]
    lvol = _node(row.id, VolumeType.LVOL, row.capacity_gb)
    lvol["lvolspec"] = {
        "lvolname": row.name,
        "redundancy": row.redundancy,
        "assoc": [],
        "ctime": _ctime(row.created),
    }
    lvol["labels"] = [row.name, f"lvol-{row.id:08x}"]
    lvol["components"] = [middle]
    return lvol


def _dext(replica: MirrorReplicaRow, dextid: int, places: _Places) -> Struct:
    shown = Replica.Status.ALLOCATED if replica.status == SHOWN_AS_ALLOCATED else replica.status
    node = _node(dextid, VolumeType.DEXT, replica.size_gb)
    node["mirror_status"] = int(shown)
    node["lvolspec"] = {
        "pdskid": replica.disk_id,
        "offset": min(replica.offset_gb, INT_MAX),
        "ssvrid": replica.server_id,
        "iscsi_path": places.of(replica.server_id, dextid),
    }
    return node


def _node(lvolid: int, kind: VolumeType, capacity_gb: int) -> Struct:
    return {
        "lvolid": lvolid,
        "lvoltype": int(kind),
        "capacity": min(capacity_gb, INT_MAX),
        "mirror_status": 0,
        "lvolspec": {},
        "labels": [],
        "components": [],
    }


def _room_by_server(disks: Sequence[DiskRow]) -> tuple[dict[int, int], dict[int, int]]:
    """Sum up capacity and available space by server."""
    capacity: dict[int, int] = defaultdict(int)
    available: dict[int, int] = defaultdict(int)
    free = tree.available_gb()
    for disk in disks:
        capacity[disk.server_id] += disk.capacity_gb
        available[disk.server_id] += free.get(disk.id, 0)
    return capacity, available


def _both(addresses: Sequence[str]) -> list[str]:
    """Two addresses, as the document promises: one is repeated."""
    return [addresses[0], addresses[-1]] if addresses else ["", ""]


def _paths(addresses: Sequence[str], name: str) -> list[str]:
    """Name a device by each of its server's two addresses."""
    return [f"nbd://{address}/{name}" if address else "" for address in _both(addresses)]


def _ctime(created: datetime) -> str:
    """YYYY-MM-DDThh:mm:ss; the database gives UTC."""
    return created.isoformat()[:19]
