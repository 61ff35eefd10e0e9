"""Replicas get places: room is read under the allocation lock, chosen purely, cut, recorded."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from django.db import connection
from django.db.models import Q

from inventory import clock, ids, space
from inventory.models import USABLE, Disk, Extent, Priority, StorageServer
from volumes.jobs import queue
from volumes.models import Job, LogicalVolume, Mirror, Replica
from volumes.placement.policy import Room, place
from volumes.replicas.rows import ReplicaRow

ALLOCATED = int(Replica.Status.ALLOCATED)
NO_TAGS: frozenset[str] = frozenset()
# A volume of 1 TB has 250 rows: bulk_create takes half of the whole call's time to build them.
INSERT_MIRROR = (
    "INSERT INTO volumes_mirror (id, volume_id, offset_gb, size_gb, scrubbed, scrub_mib)"
    " VALUES (%s, %s, %s, %s, %s, 0)"
)
INSERT_REPLICA = (
    "INSERT INTO volumes_replica (extent_id, mirror_id, server_id, status, events, since, reason)"
    " VALUES (%s, %s, %s, %s, 0, %s, '')"
)


def reserve(volume: LogicalVolume, sizes: Sequence[int]) -> None:
    """Give a recorded volume its mirrors and replicas; NoSpace says in numbers why not.

    Under the write lock. Fragmented space may make more and smaller mirrors than asked.
    """
    found = rooms()
    placed = place(found, sizes, volume.redundancy, tags=volume.tags.split())
    pieces = iter(space.cut([(disk, mirror.size_gb) for mirror in placed for disk in mirror.disks]))
    numbers = ids.take("volume", len(placed))
    servers = {room.disk: room.server for room in found}
    now = connection.ops.adapt_datetimefield_value(clock.now())
    mirrors: list[tuple[int | str | None, ...]] = []
    replicas: list[tuple[int | str | None, ...]] = []
    offset_gb = 0
    for number, mirror in zip(numbers, placed, strict=True):
        mirrors.append((number, volume.pk, offset_gb, mirror.size_gb, now))
        offset_gb += mirror.size_gb
        replicas += [
            (piece.extent_id, number, servers[piece.disk_id], ALLOCATED, now)
            for piece in islice(pieces, volume.redundancy)
        ]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_MIRROR, mirrors)
        cursor.executemany(INSERT_REPLICA, replicas)


def reserve_replica(mirror: Mirror, *, avoid_servers: Collection[int]) -> Replica:
    """Give a mirror one more replica, still to be filled, away from its servers and domains.

    Under the write lock.
    """
    found = rooms()
    beside = StorageServer.objects.filter(replicas__mirror=mirror).values_list("site", "rack")
    (placed,) = place(
        found,
        [mirror.size_gb],
        1,
        tags=mirror.volume.tags.split(),
        avoid_servers=avoid_servers,
        beside=list(beside),
        divisible=False,
    )
    (piece,) = space.cut([(placed.disks[0], placed.size_gb)])
    server = next(room.server for room in found if room.disk == piece.disk_id)
    return Replica.objects.create(
        extent_id=piece.extent_id,
        mirror=mirror,
        server_id=server,
        status=Replica.Status.SPARE,
        since=clock.now(),
    )


def discard(replica: ReplicaRow) -> None:
    """Remove a replica and give its space back, to be shredded if it was ever exported.

    Even where no head came to write there, its disk tells of it. Inside the caller's transaction.
    """
    group = LogicalVolume.objects.filter(Q(pk=replica.volume) | Q(snapshots=replica.volume))
    tried = group.filter(epoch__gt=0).exists()
    exposed = tried or replica.status != Replica.Status.ALLOCATED
    Replica.objects.filter(pk=replica.dextid).delete()
    space.release([replica.dextid], exposed=exposed)


def give_back(volume: LogicalVolume) -> None:
    """Remove a volume's replicas, mirrors and row; what a head may have written awaits shredding.

    So does what was exported in vain: its disk tells of it until then. Inside the caller's
    transaction, which has made sure that nobody uses the volume.
    """
    ids.lock("volume")
    queue.cancel(Q(mirror__volume=volume), f"{volume} was deleted")
    replicas = Replica.objects.filter(mirror__volume=volume)
    unexposed: list[int] = []
    exposed: list[int] = []
    epoch = volume.origin.epoch if volume.origin else volume.epoch
    for extent_id, status in replicas.values_list("extent_id", "status"):
        fresh = status == Replica.Status.ALLOCATED and not epoch
        (unexposed if fresh else exposed).append(extent_id)
    replicas.delete()
    volume.delete()
    space.release(exposed, exposed=True)
    space.release(unexposed, exposed=False)


def rooms() -> list[Room]:
    """Read every disk with its free extents; those that may not be used are kept for the story.

    What is in maintenance gets nothing new until it is over.
    """
    free: defaultdict[int, list[int]] = defaultdict(list)
    extents = Extent.objects.filter(status=Extent.Status.FREE).order_by("size_gb")
    for disk_id, size_gb in extents.values_list("disk_id", "size_gb"):
        free[disk_id].append(size_gb)
    return list(_each_room(free))


def _each_room(free: defaultdict[int, list[int]]) -> Iterator[Room]:
    maintenance = Job.objects.filter(kind=Job.Kind.MAINTENANCE, state=Job.State.OPEN)
    resting = list(maintenance.values_list("server", "disk"))
    resting_servers = {server for server, disk in resting if not disk}
    resting_disks = {disk for _, disk in resting}
    rows = Disk.objects.order_by("id").values_list(
        "id",
        "server_id",
        "capacity_gb",
        "tags",
        "priority",
        "server__priority",
        "server__site",
        "server__rack",
    )
    for disk, server, capacity_gb, tags, priority, priority_of_server, site, rack in rows:
        yield Room(
            disk=disk,
            server=server,
            capacity_gb=capacity_gb,
            free_gb=tuple(free[disk]),
            domain=(site, rack),
            tags=frozenset(tags.split()) if tags else NO_TAGS,
            usable=priority in USABLE
            and priority_of_server in USABLE
            and server not in resting_servers
            and disk not in resting_disks,
            second_choice=Priority.LOW in (priority, priority_of_server),
        )
