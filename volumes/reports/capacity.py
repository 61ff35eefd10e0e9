"""How the space of disks, servers and the cluster is used."""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet, Sum

from inventory import recovery
from inventory.models import NEITHER_USED_NOR_FREE, Disk, Extent
from volumes.reports import tree

Status = Extent.Status


@dataclass(frozen=True, slots=True)
class Usage:
    """GB by what they are used for. `resting` is free space on what takes no new data now."""

    used: int = 0
    free: int = 0
    resting: int = 0
    shredding: int = 0
    bad: int = 0
    label: int = 0

    @property
    def parts(self) -> list["SpaceUse"]:
        """List the uses for showing, in the order of a bar."""
        return [
            SpaceUse(kind, title, getattr(self, kind), self.percent(getattr(self, kind)), statuses)
            for kind, title, statuses in PARTS
        ]

    @property
    def capacity(self) -> int:
        """All of it."""
        return self.used + self.free + self.resting + self.shredding + self.bad + self.label

    def percent(self, part: int) -> float:
        """Say which share of the whole a part is."""
        return round(100 * part / self.capacity, 2) if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class SpaceUse:
    """One use of space; `statuses` are those of its extents, where a list can show them."""

    kind: str
    title: str
    gb: int
    percent: float
    statuses: str


PARTS = (
    ("used", "used", "1,3"),
    ("shredding", "to be shredded", "4"),
    ("bad", "bad", "6"),
    ("label", "labels", "5"),
    ("resting", "free, but on what takes nothing new now", ""),
    ("free", "free", "2"),
)
FIELDS = {
    Status.BUSY: "used",
    Status.EVACUATE: "used",
    Status.FREE: "free",
    Status.OFFLINE: "shredding",
    Status.FAULTY: "bad",
    Status.SUPER: "label",
}


def of_disks(disk_ids: Collection[int]) -> dict[int, Usage]:
    """Sum up disks; free space counts as free whatever the disk's state."""
    rows = (
        Extent.objects.filter(disk__in=disk_ids)
        .order_by()
        .values("disk", "status")
        .annotate(gb=Sum("size_gb"))
        .values_list("disk", "status", "gb")
    )
    found: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for disk, status, gb in rows:
        found[disk][FIELDS[Status(status)]] += gb
    return {disk: Usage(**gb) for disk, gb in found.items()}


@dataclass(frozen=True, slots=True)
class ServerRoom:
    """GB of a server's disks: all, those that are free, and those that can be allocated now."""

    capacity: int = 0
    free: int = 0
    allocatable: int = 0


NO_ROOM = ServerRoom()


def of_servers() -> dict[int, ServerRoom]:
    """Sum up all storage servers; in recovery mode nothing of them can be allocated."""
    free, allocatable = tree.free_gb(), {} if recovery.why() else tree.available_gb()
    sums: dict[int, ServerRoom] = {}
    for disk in tree.disks(Q()):
        room = sums.get(disk.server_id, ServerRoom())
        sums[disk.server_id] = ServerRoom(
            room.capacity + disk.capacity_gb,
            room.free + free.get(disk.id, 0),
            room.allocatable + allocatable.get(disk.id, 0),
        )
    return sums


def allocatable_on(server_ids: Collection[int]) -> dict[int, int]:
    """Sum up by disk the GB of some servers that can be allocated now; nothing in recovery mode."""
    return {} if recovery.why() else tree.available_gb(server__in=server_ids)


def of_cluster() -> Usage:
    """Sum up everything; what may be allocated now is apart from what rests.

    Nearly all extents are used: they are what the others leave, instead of being read.
    """
    capacity = Disk.objects.aggregate(gb=Sum("capacity_gb"))["gb"] or 0
    # One question, but each part of it goes by its own index.
    others = _summed(status__gte=NEITHER_USED_NOR_FREE)
    sums = defaultdict(int, _summed(status=Status.FREE).union(others, all=True))
    free, shredding = sums[Status.FREE], sums[Status.OFFLINE]
    label, bad = sums[Status.SUPER], sums[Status.FAULTY]
    allocatable = sum(tree.available_gb().values())
    return Usage(
        used=capacity - free - shredding - label - bad,
        free=allocatable,
        resting=free - allocatable,
        shredding=shredding,
        bad=bad,
        label=label,
    )


def used_of_disks() -> list[tuple[int, int, int, int]]:
    """Tell of each disk its server, the GB that replicas use, and its capacity; in two queries.

    As of the cluster: used is what all other extents leave.
    """
    rest = Counter[int]()
    others = [Status.FREE, Status.OFFLINE, Status.SUPER, Status.FAULTY]
    rows = Extent.objects.filter(status__in=others).order_by()
    for disk, gb in rows.values_list("disk", "size_gb"):
        rest[disk] += gb
    disks = Disk.objects.order_by("pk").values_list("pk", "server", "capacity_gb")
    return [(disk, server, gb - rest[disk], gb) for disk, server, gb in disks]


def _summed(**which: Any) -> QuerySet[Extent, tuple[int, int]]:
    rows = Extent.objects.filter(**which).order_by()
    return rows.values_list("status").annotate(Sum("size_gb"))
