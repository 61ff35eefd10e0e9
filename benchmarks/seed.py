"""Fill an empty database with a cluster of a given size, in bulk and without nodes.

`python benchmarks/seed.py --volumes 20000 --servers 50 --disks 20 --trouble` fills the database
that DATABASE_URL or VASTSKY_HOME names; tests and screenshots use `fill`.
"""

import argparse
import os
import random
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice, product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    import django

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
    django.setup()

from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from agents.version import VERSION  # noqa: E402
from inventory.models import (  # noqa: E402
    Address,
    Cluster,
    Disk,
    Extent,
    HeadServer,
    IdSpace,
    Priority,
    StorageServer,
)
from volumes.models import Attachment, Job, JobLine, LogicalVolume, Mirror, Replica  # noqa: E402

WORDS = ("mail", "web", "db", "scratch", "home", "build", "archive", "media", "logs", "vm")
BATCH = 2000


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything."""

    servers: int = 6
    disks: int = 4
    disk_gb: int = 2000
    heads: int = 3
    volumes: int = 40
    racks: int = 3


def fill(size: Size, *, trouble: bool = False, now: datetime | None = None) -> None:
    """Record a whole cluster that is well, or one with something wrong of every kind."""
    now = now or timezone.now()
    with transaction.atomic():
        builder = _Builder(size, now)
        builder.add_iron()
        builder.add_volumes()
        builder.add_history()
        builder.save()
        _gather_statistics()
    if trouble:
        with transaction.atomic():
            _make_trouble(now)


def _gather_statistics() -> None:
    """Let PostgreSQL know what it has now: for it tables may be empty still, and joins so cheap
    that it loops over both."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


class _Builder:
    """Rows in memory until `save`."""

    def __init__(self, size: Size, now: datetime) -> None:
        self.size = size
        self.now = now
        self.chance = random.Random(7)
        self.ids = count(1)
        self.next_free: dict[int, int] = {}
        self.extents: list[Extent] = []
        self.volumes: list[LogicalVolume] = []
        self.mirrors: list[Mirror] = []
        self.replicas: list[Replica] = []
        self.jobs: list[Job] = []

    def add_iron(self) -> None:
        size = self.size
        Cluster.objects.get_or_create(pk=1, defaults={"uuid": uuid.uuid4()})
        common = {"last_answer": self.now, "boot_id": "seeded", "version": VERSION}
        StorageServer.objects.bulk_create(
            StorageServer(
                id=n,
                site=f"hall-{1 + n % 2}",
                rack=f"rack-{1 + n % size.racks}",
                **common,
            )
            for n in range(1, size.servers + 1)
        )
        HeadServer.objects.bulk_create(HeadServer(id=n, **common) for n in range(1, size.heads + 1))
        Address.objects.bulk_create(
            Address(address=f"10.{net + base}.{n // 250}.{1 + n % 250}", position=net, **{owner: n})
            for base, most, owner in (
                (0, size.servers, "storage_id"),
                (100, size.heads, "head_id"),
            )
            for n, net in product(range(1, most + 1), (0, 1))
        )
        Disk.objects.bulk_create(
            [
                Disk(
                    id=n,
                    server_id=1 + (n - 1) // size.disks,
                    disk_uuid=str(uuid.UUID(int=n)),
                    local_path=f"/dev/disk/by-id/wwn-0x5000c500{n:08x}",
                    capacity_gb=size.disk_gb,
                    tags="ssd" if n % 4 == 0 else "hdd",
                )
                for n in range(1, size.servers * size.disks + 1)
            ],
            batch_size=BATCH,
        )
        self.next_free = dict.fromkeys(range(1, size.servers * size.disks + 1), 0)

    def add_volumes(self) -> None:
        for number in range(self.size.volumes):
            origin = self._volume(f"{WORDS[number % len(WORDS)]}-{number:05d}")
            if number % 9 == 0:
                self._volume(f"{origin.name}.nightly", origin)

    def _volume(self, name: str, origin: LogicalVolume | None = None) -> LogicalVolume:
        capacity = origin.capacity_gb if origin else self.chance.choice((5, 10, 20, 40, 80))
        number, node, linear = islice(self.ids, 3)
        volume = LogicalVolume(
            id=number,
            node_id=node,
            linear_id=linear,
            name=name,
            capacity_gb=capacity,
            store_gb=capacity + (1 if origin else 0),
            redundancy=2 if number % 5 == 0 else 3,
            origin=origin,
        )
        self.volumes.append(volume)
        for offset in range(0, volume.store_gb, 10):
            self._mirror(volume, offset, min(10, volume.store_gb - offset))
        return volume

    def _mirror(self, volume: LogicalVolume, offset: int, size_gb: int) -> None:
        mirror = Mirror(id=next(self.ids), volume=volume, offset_gb=offset, size_gb=size_gb)
        self.mirrors.append(mirror)
        first = self.chance.randrange(self.size.servers)
        for replica in range(volume.redundancy):
            server = 1 + (first + replica) % self.size.servers
            extent = self._extent(server, size_gb)
            self.replicas.append(
                Replica(
                    extent=extent, mirror=mirror, server_id=server, status=Replica.Status.INSYNC
                )
            )

    def _extent(self, server: int, size_gb: int) -> Extent:
        disks = range((server - 1) * self.size.disks + 1, server * self.size.disks + 1)
        disk = min(disks, key=lambda number: self.next_free[number])
        offset = self.next_free[disk]
        self.next_free[disk] = offset + size_gb
        return self._piece(disk, offset, size_gb, Extent.Status.BUSY)

    def _piece(self, disk: int, offset: int, size_gb: int, status: Extent.Status) -> Extent:
        extent = Extent(
            id=next(self.ids),
            disk_id=disk,
            offset_gb=offset,
            size_gb=size_gb,
            status=status,
            generation=1,
            zeroed_generation=1 if status == Extent.Status.FREE else 0,
        )
        self.extents.append(extent)
        return extent

    def add_history(self) -> None:
        """The rest of each disk, who is attached where, and what was done lately."""
        for disk, offset in self.next_free.items():
            rest = self.size.disk_gb - 1 - offset
            if rest < 1:
                raise SystemExit(f"disks of {self.size.disk_gb} GB are too small for this")
            self._piece(disk, offset, rest, Extent.Status.FREE)
            self._piece(disk, self.size.disk_gb - 1, 1, Extent.Status.SUPER)
        kinds = (Job.Kind.ATTACH, Job.Kind.SNAPSHOT, Job.Kind.REBUILD, Job.Kind.SHRED)
        for number in range(max(20, self.size.volumes // 2)):
            volume = self.volumes[number % len(self.volumes)] if self.volumes else None
            ended = self.now - timedelta(minutes=3 * number + 1)
            failed = number % 17 == 5
            self.jobs.append(
                Job(
                    id=number + 1,
                    kind=kinds[number % len(kinds)],
                    state=Job.State.FAILED if failed else Job.State.DONE,
                    subject=f"{volume.name} ({volume})" if volume else "dext-00000001",
                    volume=None if volume is None or volume.origin_id else volume,
                    errno=112 if failed else 0,
                    error="hsvr-00000001 does not answer" if failed else "",
                    actor="admin" if number % 2 else "",
                    due=ended,
                    started=ended - timedelta(seconds=4),
                    finished=ended,
                )
            )

    def save(self) -> None:
        LogicalVolume.objects.bulk_create(self.volumes, batch_size=BATCH)
        Extent.objects.bulk_create(self.extents, batch_size=BATCH)
        Mirror.objects.bulk_create(self.mirrors, batch_size=BATCH)
        Replica.objects.bulk_create(self.replicas, batch_size=BATCH)
        Job.objects.bulk_create(self.jobs, batch_size=BATCH)
        Attachment.objects.bulk_create(
            [
                Attachment(
                    volume=volume,
                    head_id=1 + volume.pk % self.size.heads,
                    state=Attachment.State.BOUND,
                )
                for volume in self._origins()
                if volume.pk % 3
            ],
            batch_size=BATCH,
        )
        LogicalVolume.objects.filter(attachment__isnull=False).update(epoch=3)
        used = {"volume": next(self.ids), "event": len(self.jobs) + 1}
        used |= {"head": self.size.heads + 1, "storage": self.size.servers + 1}
        used |= {"disk": len(self.next_free) + 1}
        for name, following in used.items():
            IdSpace.objects.filter(name=name).update(next_id=following)

    def _origins(self) -> Iterator[LogicalVolume]:
        return (volume for volume in self.volumes if volume.origin_id is None)


def _make_trouble(now: datetime) -> None:
    """Let a server, a disk, a head and some space go wrong, with the jobs that follow from it."""
    long_ago = now - timedelta(minutes=7)
    servers = list(StorageServer.objects.order_by("-pk")[:2])
    dead, silent = servers[0], servers[1]
    StorageServer.objects.filter(pk=dead.pk).update(
        priority=Priority.OFFLINE, priority_since=long_ago, silent_since=long_ago
    )
    Disk.objects.filter(server=dead).update(priority=Priority.OFFLINE, priority_since=long_ago)
    StorageServer.objects.filter(pk=silent.pk).update(silent_since=now - timedelta(seconds=12))
    Address.objects.filter(storage=silent).update(silent_since=now - timedelta(seconds=12))
    Address.objects.filter(storage=dead).update(silent_since=long_ago)
    Address.objects.filter(storage=1, position=1).update(silent_since=long_ago)
    bad = Disk.objects.exclude(server=dead).order_by("-pk").first()
    assert bad is not None
    Disk.objects.filter(pk=bad.pk).update(priority=Priority.FAULTY, priority_since=long_ago)
    _lose_replicas(dead, bad, long_ago)
    _spoil_space(now)
    _add_open_jobs(now)
    _tell_stories(now)
    volume = LogicalVolume.objects.filter(attachment__isnull=False).order_by("pk").first()
    Attachment.objects.filter(volume=volume).update(
        state=Attachment.State.ERROR,
        error="mirr-00000004 was not closed cleanly and dext-00000005 on ssvr-00000001 cannot be"
        " read: it may hold the newest data",
        since=long_ago,
    )


def _lose_replicas(dead: StorageServer, bad: Disk, since: datetime) -> None:
    """Leave out what was there; of two mirrors all replicas but one, of one all."""
    gone = Replica.objects.filter(server=dead)
    gone.update(status=Replica.Status.FAULTY, reason="silent", since=since)
    on_disk = Replica.objects.filter(extent__disk=bad).values_list("pk", flat=True)
    Replica.objects.filter(pk__in=list(on_disk)).update(
        status=Replica.Status.FAULTY, reason="disk", since=since
    )
    hit = list(gone.order_by("mirror_id").values_list("mirror_id", flat=True)[:3])
    for place, mirror in enumerate(hit):
        replicas = list(Replica.objects.filter(mirror=mirror).order_by("status", "pk"))
        keep = 0 if place == len(hit) - 1 else 1
        ids = [replica.pk for replica in replicas[keep:]]
        Replica.objects.filter(pk__in=ids).update(
            status=Replica.Status.FAULTY, reason="io", since=since
        )


def _spoil_space(now: datetime) -> None:
    """Have some space wait for its shredding and some be bad for ever."""
    for number, extent in enumerate(Extent.objects.filter(status=2).order_by("disk_id")[:12]):
        if extent.size_gb < 60:
            continue
        Extent.objects.filter(pk=extent.pk).update(size_gb=extent.size_gb - 30)
        status = Extent.Status.FAULTY if number % 6 == 5 else Extent.Status.OFFLINE
        Extent.objects.create(
            id=_next("volume"),
            disk_id=extent.disk_id,
            offset_gb=extent.offset_gb + extent.size_gb - 30,
            size_gb=30,
            status=status,
            generation=1,
            zeroed_generation=0,
        )


def _add_open_jobs(now: datetime) -> None:
    degraded = (
        Mirror.objects.filter(replicas__status=Replica.Status.FAULTY).distinct().order_by("pk")
    )
    for place, mirror in enumerate(degraded.select_related("volume")[:200]):
        runs = place < 4
        spare = mirror.replicas.filter(status=Replica.Status.FAULTY).first()
        if runs and spare:
            Replica.objects.filter(pk=spare.pk).update(status=Replica.Status.SPARE, reason="")
        Job.objects.create(
            id=_next("event"),
            kind=Job.Kind.REBUILD,
            subject=f"{mirror} of {mirror.volume.name} ({mirror.volume})",
            volume_id=mirror.volume.origin_id or mirror.volume_id,
            mirror=mirror,
            extent=spare.extent if runs and spare else None,
            ordered=runs,
            urgency=1 + place % 2,
            waiting="" if runs else "16 of at most 16 rebuilds are running in the cluster",
            done_mib=mirror.size_gb * 1024 * (place + 1) // 6 if runs else 0,
            total_mib=mirror.size_gb * 1024,
            due=now + timedelta(hours=1),
            started=now - timedelta(seconds=42) if runs else None,
        )
    for extent in Extent.objects.filter(status=Extent.Status.OFFLINE).order_by("pk")[:8]:
        Job.objects.create(
            id=_next("event"),
            kind=Job.Kind.SHRED,
            subject=f"{extent}: {extent.size_gb} GB at {extent.offset_gb} of {extent.disk}",
            extent=extent,
            ordered=True,
            urgency=20,
            done_mib=extent.size_gb * 300,
            total_mib=extent.size_gb * 1024,
            due=now + timedelta(hours=1),
            started=now - timedelta(seconds=60),
        )
    detached = LogicalVolume.objects.filter(attachment__isnull=True, origin=None).last()
    if detached:
        Attachment.objects.create(volume=detached, head_id=1, state=Attachment.State.BINDING)
        Job.objects.create(
            id=_next("event"),
            kind=Job.Kind.ATTACH,
            subject=f"{detached.name} ({detached}) to hsvr-00000001",
            volume=detached,
            attempts=4,
            waiting="ssvr-00000005 does not answer",
            actor="admin",
            due=now - timedelta(minutes=4),
            deadline=now - timedelta(minutes=1),
        )


def _tell_stories(now: datetime) -> None:
    """What the open jobs say of themselves."""
    lines: list[JobLine] = []
    ages: list[int] = []
    for job in Job.objects.filter(state=Job.State.OPEN).order_by("pk"):
        told = {60: f"asked for by {job.actor}" if job.actor else "asked for"}
        if job.started:
            told[42] = f"{job.kind}: order 1 to the node"
        if job.waiting:
            told[40] = job.waiting
        lines += [JobLine(job=job, text=text) for text in told.values()]
        ages += told
    JobLine.objects.bulk_create(lines, batch_size=BATCH)
    for line, age in zip(lines, ages, strict=True):
        line.at = now - timedelta(seconds=age)
    JobLine.objects.bulk_update(lines, ["at"], batch_size=100)


def _next(space: str) -> int:
    row = IdSpace.objects.get(name=space)
    IdSpace.objects.filter(name=space).update(next_id=row.next_id + 1)
    return int(row.next_id)


def main() -> None:
    """Fill the configured database, which must be empty."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "disks", "disk_gb", "heads", "volumes", "racks"):
        default = getattr(Size(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--trouble", action="store_true")
    chosen = vars(parser.parse_args())
    trouble = chosen.pop("trouble")
    if StorageServer.objects.exists():
        sys.exit("the database is not empty")
    fill(Size(**chosen), trouble=trouble)


if __name__ == "__main__":
    main()
