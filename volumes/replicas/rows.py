"""The replicas of a group or a mirror as nodes need to hear of them: one query, frozen rows."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.utils.crypto import salted_hmac

from agents.protocol import About, ExtentRef, ReplicaAbout, VolumeAbout
from inventory.errors import Invalid
from inventory.models import ALIVE, Address, StorageServer
from volumes.models import LogicalVolume, Replica

GOOD = (Replica.Status.ALLOCATED, Replica.Status.INSYNC, Replica.Status.NEEDSHRED)
"""Statuses of replicas that hold all that was ever acknowledged."""

OUT_OF_SYNC = (Replica.Status.SPARE, Replica.Status.FAULTY)
"""Statuses of replicas that may lack something: what repair has yet to bring back."""


def out_of_sync(path: str = "") -> Q:
    """Match replicas that are OUT_OF_SYNC, at the end of this path, by their index.

    Two comparisons, as the index has them: that a list of parameters implies its condition is
    nothing that SQLite sees (https://www.sqlite.org/partialindex.html, section 3).
    """
    first, last = OUT_OF_SYNC
    return Q(**{f"{path}status__gte": first, f"{path}status__lte": last})


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica with all that places it."""

    dextid: int
    mirror: int
    volume: int
    status: int
    events: int
    reason: str
    server: int
    server_priority: int
    server_name: str = field(compare=False)  # another name is no other replica
    disk: int
    disk_priority: int
    disk_name: str
    offset_gb: int
    size_gb: int
    generation: int
    extent_status: int
    mirror_offset_gb: int
    volume_about: VolumeAbout

    @property
    def server_label(self) -> str:
        """Name its server for people."""
        return StorageServer(pk=self.server, name=self.server_name).label

    @property
    def mirror_label(self) -> str:
        """Name its mirror for people."""
        return f"mirr-{self.mirror:08x} of {self.volume_about.name}"

    @property
    def good(self) -> bool:
        """Holds all that was ever acknowledged."""
        return self.status in GOOD

    @property
    def alive(self) -> bool:
        """Its server and its disk are thought to answer."""
        return self.server_priority in ALIVE and self.disk_priority in ALIVE

    @property
    def ref(self) -> ExtentRef:
        """Name its extent so that a node cannot mistake it."""
        return ExtentRef(
            dextid=self.dextid,
            generation=self.generation,
            disk=self.disk_name,
            offset_gb=self.offset_gb,
            size_gb=self.size_gb,
        )


def about(replicas: Iterable[ReplicaRow]) -> About:
    """Tell what these replicas hold, for their disks to keep."""
    chosen = list(replicas)
    volumes = {replica.volume: replica.volume_about for replica in chosen}
    return About(
        tuple(volumes.values()),
        tuple(
            ReplicaAbout(
                r.dextid,
                r.volume,
                r.mirror,
                r.mirror_offset_gb,
                fresh=r.status == Replica.Status.ALLOCATED,
            )
            for r in chosen
        ),
    )


def load(which: Q) -> list[ReplicaRow]:
    """Read all replicas that match, by volume, place in the volume, and id."""
    rows = Replica.objects.filter(which).order_by("mirror__volume", "mirror__offset_gb", "pk")
    return [
        ReplicaRow(*row[:11], row[11] or row[12], *row[13:18], _about(row[2], row[18:]))
        for row in rows.values_list(
            "pk",
            "mirror",
            "mirror__volume",
            "status",
            "events",
            "reason",
            "server",
            "server__priority",
            "server__name",
            "extent__disk",
            "extent__disk__priority",
            "extent__disk__disk_uuid",
            "extent__disk__local_path",
            "extent__offset_gb",
            "extent__size_gb",
            "extent__generation",
            "extent__status",
            "mirror__offset_gb",
            "mirror__volume__name",
            "mirror__volume__origin",
            "mirror__volume__capacity_gb",
            "mirror__volume__store_gb",
            "mirror__volume__redundancy",
            "mirror__volume__created",
        )
    ]


def _about(lvolid: int, columns: Sequence[Any]) -> VolumeAbout:
    name, origin, capacity_gb, store_gb, redundancy, created = columns
    born = int(created.timestamp())
    return VolumeAbout(lvolid, name, origin or 0, capacity_gb, store_gb, redundancy, born)


def of_group(volume_id: int) -> list[ReplicaRow]:
    """Read the replicas of an origin and of its snapshots, but for those that are broken."""
    return load(
        Q(mirror__volume=volume_id)
        | Q(mirror__volume__origin=volume_id, mirror__volume__broken=False)
    )


def of_mirror(mirror_id: int) -> list[ReplicaRow]:
    """Read the replicas of one mirror."""
    return load(Q(mirror=mirror_id))


def require_of_mirror(mirror_id: int, dextids: Collection[int]) -> None:
    """Refuse extents that are no replicas of a mirror."""
    own = Replica.objects.filter(mirror=mirror_id).values_list("pk", flat=True)
    if strangers := set(dextids) - set(own):
        raise Invalid(f"dext-{min(strangers):08x} is no replica of mirr-{mirror_id:08x}")


def by_mirror(replicas: Iterable[ReplicaRow]) -> dict[int, list[ReplicaRow]]:
    """Group replicas by mirror, in the order given."""
    found: dict[int, list[ReplicaRow]] = {}
    for replica in replicas:
        found.setdefault(replica.mirror, []).append(replica)
    return found


def by_server(replicas: Iterable[ReplicaRow]) -> dict[int, list[ReplicaRow]]:
    """Group replicas by storage server."""
    found: dict[int, list[ReplicaRow]] = {}
    for replica in replicas:
        found.setdefault(replica.server, []).append(replica)
    return found


def storage_addresses(servers: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Read the addresses of storage servers, network A first."""
    found: dict[int, tuple[str, ...]] = {}
    rows = Address.objects.filter(storage__in=set(servers)).order_by("storage", "position")
    for server, address in rows.values_list("storage", "address"):
        found[server] = (*found.get(server, ()), address)
    return found


def secret(volume: LogicalVolume | int, epoch: int) -> str:
    """Derive what names the exports of one epoch of a group; only the manager can."""
    number = volume if isinstance(volume, int) else volume.pk
    return salted_hmac("vastsky.export", f"{number}:{epoch}").hexdigest()[:24]
