"""What storage servers tell of their disks: where they are, which are refused, which are gone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from inventory import clock
from inventory.models import ALIVE, Disk, Priority, RefusedDisk

SETTLED = timedelta(seconds=4)
"""What changed more recently may be unknown to who was asked: a disk that was pulled out here may
be told there a moment before it is missed here."""

Paths = Mapping[int, Mapping[str, str]]
"""By server: at which path each disk of a label works, or worked."""


@dataclass(frozen=True, slots=True)
class UnusedDisk:
    """A disk that a server does not use. `disk` is what its label calls it, if it is ours."""

    local_path: str
    disk: str
    reason: str


def note_paths(told: Paths) -> None:
    """Keep at which paths the disks are, which may have changed while they were in use."""
    moved = []
    for row in Disk.objects.filter(server__in=told).exclude(disk_uuid=""):
        path = told[row.server_id].get(row.disk_uuid)
        if path and path != row.local_path:
            row.local_path = path
            moved.append(row)
    Disk.objects.bulk_update(moved, ["local_path"])


def missing(told: Paths, asked: datetime) -> list[int]:
    """Name the disks in service of which their servers, asked then, said nothing at all."""
    rows = Disk.objects.filter(server__in=told, priority__in=ALIVE, priority_since__lt=asked)
    labels = rows.exclude(disk_uuid="").values_list("pk", "server", "disk_uuid")
    return [pk for pk, server, name in labels if name not in told[server]]


def returned(working: Paths, asked: datetime) -> list[Disk]:
    """Find the disks that are out of service, though their servers tell that they work again.

    The news that they were gone may have come later than they did.
    """
    out = Disk.objects.filter(priority=Priority.OFFLINE, priority_since__lt=asked)
    rows = out.filter(server__in=working, server__priority__in=ALIVE).exclude(disk_uuid="")
    return [row for row in rows if row.disk_uuid in working[row.server_id]]


@transaction.atomic
def note_refused(told: Mapping[int, Collection[UnusedDisk]]) -> None:
    """Keep what servers refuse now, and forget what they told before."""
    found = {
        (server, one.local_path, one.disk): one.reason[:500]
        for server, refused in told.items()
        for one in refused
    }
    over, changed = [], []
    for row in RefusedDisk.objects.filter(server__in=told):
        reason = found.pop((row.server_id, row.local_path, row.disk_uuid), None)
        if reason is None:
            over.append(row.pk)
        elif reason != row.reason:
            row.reason = reason
            changed.append(row)
    if over:
        RefusedDisk.objects.filter(pk__in=over).delete()
    RefusedDisk.objects.bulk_update(changed, ["reason"])
    since = clock.now()
    RefusedDisk.objects.bulk_create(
        RefusedDisk(server_id=server, local_path=path, disk_uuid=name, reason=reason, since=since)
        for (server, path, name), reason in found.items()
    )


def note_seconds(working: Paths, asked: datetime) -> None:
    """Remember which refused disks are second ones: the first one works elsewhere meanwhile.

    Such a one is another disk, a copy for example. It does not take the first one's place when
    that one's server is away for a while.
    """
    first = Disk.objects.filter(disk_uuid=OuterRef("disk_uuid")).exclude(server=OuterRef("server"))
    rows = RefusedDisk.objects.filter(Exists(first), is_second=False, since__lt=asked - SETTLED)
    named = {row.disk_uuid: row for row in rows.exclude(disk_uuid="")}
    for disk in Disk.objects.filter(disk_uuid__in=named, server__in=working):
        row = named[disk.disk_uuid]
        if disk.server_id != row.server_id and disk.disk_uuid in working[disk.server_id]:
            RefusedDisk.objects.filter(pk=row.pk).update(is_second=True)


def is_second(disk: Disk) -> bool:
    """Tell whether a disk was seen while another one of its label was in use elsewhere."""
    return RefusedDisk.objects.filter(
        server=disk.server_id, local_path=disk.local_path, disk_uuid=disk.disk_uuid, is_second=True
    ).exists()
