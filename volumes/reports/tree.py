"""What the lists and trees of the API show, as plain rows, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum

from agents.engines.kernel import iscsi_names as iscsi
from inventory.errors import Invalid, NotFound
from inventory.models import USABLE, Address, Disk, Extent, HeadServer, StorageServer
from inventory.pages import ALL, Page
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.replicas.rows import out_of_sync


class VolumeRow(NamedTuple):
    """A volume without its replicas."""

    id: int
    node_id: int
    linear_id: int
    name: str
    capacity_gb: int
    store_gb: int
    redundancy: int
    origin_id: int | None
    broken: bool
    created: datetime


class MirrorReplicaRow(NamedTuple):
    """A mirror with one of its replicas; the replica's members are None where it has none."""

    volume_id: int
    mirror_id: int
    mirror_gb: int
    dextid: int | None
    status: int
    disk_id: int
    offset_gb: int
    size_gb: int
    server_id: int


class ServerRow(NamedTuple):
    """A head or storage server."""

    id: int
    priority: int


class DiskRow(NamedTuple):
    """A disk."""

    id: int
    server_id: int
    priority: int
    local_path: str
    capacity_gb: int


def volumes(which: Q, page: Page = ALL) -> list[VolumeRow]:
    """Read volumes in the order of their ids."""
    rows = page.of(LogicalVolume.objects.filter(which))
    return list(map(VolumeRow._make, rows.values_list(*VolumeRow._fields)))


def with_snapshots(*, lvolid: int = 0, lvolname: str = "") -> list[VolumeRow]:
    """Read a volume, by its id or else by its name, and after it its snapshots; in one query."""
    if not lvolid and not lvolname:
        raise Invalid("neither lvolid nor lvolname is given")
    named = LogicalVolume.objects.filter(name=lvolname).values("pk")
    chosen = Q(pk=lvolid) | Q(origin=lvolid) if lvolid else Q(pk__in=named) | Q(origin__in=named)
    rows = volumes(chosen)
    if not rows:
        raise NotFound(f"there is no volume {lvolid or lvolname}")
    return rows  # in the order of ids, and a snapshot's is above its origin's


def replicas(volume_ids: Collection[int]) -> dict[int, list[MirrorReplicaRow]]:
    """Read the mirrors and replicas of volumes, each volume's in the order of their place in it."""
    rows = (
        Mirror.objects.filter(volume__in=volume_ids)
        .order_by("volume_id", "offset_gb", "replicas__extent_id")
        .values_list(
            "volume_id",
            "id",
            "size_gb",
            "replicas__extent_id",
            "replicas__status",
            "replicas__extent__disk_id",
            "replicas__extent__offset_gb",
            "replicas__extent__size_gb",
            "replicas__server_id",
        )
    )
    found: dict[int, list[MirrorReplicaRow]] = defaultdict(list)
    for row in map(MirrorReplicaRow._make, rows):
        found[row.volume_id].append(row)
    return found


def waiting_volumes(page: Page = ALL) -> QuerySet[LogicalVolume]:
    """Choose the volumes that wait for storage, longest first; a page of them by their ids.

    Who reads pages is to miss none while others begin to wait, and end.
    """
    waiting = LogicalVolume.objects.exclude(waiting_since=None)
    return waiting.order_by("waiting_since", "pk") if page == ALL else page.of(waiting)


def attachments(which: Q) -> dict[int, tuple[str, int]]:
    """Read state and head by the id of the origin."""
    rows = Attachment.objects.filter(which).values_list("volume_id", "state", "head_id")
    return {volume_id: (state, head_id) for volume_id, state, head_id in rows}


def faulty_volumes(which: Q) -> set[int]:
    """Name the volumes that have a replica which is neither in sync nor as new."""
    rows = Replica.objects.filter(out_of_sync(), which).values_list("mirror__volume_id", flat=True)
    return set(rows.distinct())


def is_faulty(volume_id: int) -> bool:
    """Tell whether one volume has such a replica."""
    return Replica.objects.filter(out_of_sync(), mirror__volume=volume_id).exists()


def heads(which: Q, page: Page = ALL) -> list[ServerRow]:
    """Read head servers."""
    rows = page.of(HeadServer.objects.filter(which))
    return list(map(ServerRow._make, rows.values_list(*ServerRow._fields)))


def storages(which: Q, page: Page = ALL) -> list[ServerRow]:
    """Read storage servers."""
    rows = page.of(StorageServer.objects.filter(which))
    return list(map(ServerRow._make, rows.values_list(*ServerRow._fields)))


def disks(which: Q, page: Page = ALL) -> list[DiskRow]:
    """Read disks."""
    rows = page.of(Disk.objects.filter(which))
    return list(map(DiskRow._make, rows.values_list(*DiskRow._fields)))


def addresses(kind: str) -> dict[int, list[str]]:
    """Read the addresses of all "head" or "storage" servers, in the order of their networks."""
    rows = Address.objects.exclude(**{kind: None}).order_by("position").values_list(kind, "address")
    found: dict[int, list[str]] = defaultdict(list)
    for server_id, address in rows:
        found[server_id].append(address)
    return found


def iscsi_targets(group_id: int) -> dict[int, str]:
    """Name by storage server the target that a group has there: `PORT/NAME`.

    Only servers whose kernels export extents have one, and only while the group is attached.
    """
    found = StorageServer.objects.filter(iscsi_port__isnull=False).annotate(
        epoch=Subquery(
            Attachment.objects.filter(volume=group_id).values("volume__epoch")[:1],
        )
    )
    rows = found.filter(epoch__isnull=False).values_list("id", "iscsi_port", "epoch")
    return {server: f"{port}/{iscsi.target(group_id, epoch)}" for server, port, epoch in rows}


def available_gb(**which: Any) -> dict[int, int]:
    """Sum up by disk what can be allocated now: zeroed, on a usable disk of a usable server.

    What is in maintenance gets nothing new. Which: the disks that are meant; all, if not said.
    """
    resting = Job.objects.filter(kind=Job.Kind.MAINTENANCE, state=Job.State.OPEN)
    usable = Disk.objects.filter(priority__in=USABLE, server__priority__in=USABLE, **which).exclude(
        Exists(resting.filter(Q(disk=OuterRef("pk")) | Q(server=OuterRef("server"))))
    )
    return _free(disk__in=usable)


def free_gb() -> dict[int, int]:
    """Sum up by disk what is free, be its disk in service or not."""
    return _free()


def _free(**which: Any) -> dict[int, int]:
    free = Extent.objects.filter(status=Extent.Status.FREE, **which)
    rows = free.values("disk_id").annotate(gb=Sum("size_gb")).values_list("disk_id", "gb")
    return dict(rows)


def rebuilds_by_head() -> dict[int, int]:
    """Count the open rebuilds of the volumes attached to each head."""
    return _count_rebuilds("volume__attachment__head_id")


def rebuilds_by_storage() -> dict[int, int]:
    """Count the open rebuilds that fill an extent of each storage server."""
    return _count_rebuilds("extent__disk__server_id")


def rebuilds_by_disk() -> dict[int, int]:
    """Count the open rebuilds that fill an extent of each disk."""
    return _count_rebuilds("extent__disk_id")


def _count_rebuilds(where: str) -> dict[int, int]:
    jobs = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN)
    rows = jobs.values(where=F(where)).annotate(count=Count("id")).values_list("where", "count")
    return dict(rows)
