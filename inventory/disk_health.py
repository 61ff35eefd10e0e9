"""What disks say of themselves (SMART), as their servers told it last."""

from collections.abc import Mapping

from django.utils import timezone

from inventory.models import Disk, DiskHealth

FIGURES = ("passed", "temperature", "reallocated", "pending", "wear")

Figures = Mapping[str, int | bool | None]


def note(told: Mapping[int, tuple[int, Figures]]) -> None:
    """Keep figures by disk, each told by a server; nothing is written of what stays as it was.

    A copy of a disk bears the number of another one, which its own server tells of.
    """
    if not told:
        return
    owners = dict(Disk.objects.filter(pk__in=told).values_list("pk", "server"))
    known = {row.disk_id: row for row in DiskHealth.objects.filter(disk__in=told)}
    changed, new = [], []
    for disk, (server, figures) in told.items():
        if owners.get(disk) != server:
            continue
        row = known.get(disk)
        if row is None:
            new.append(DiskHealth(disk_id=disk, **figures))
        elif any(getattr(row, name) != figures[name] for name in FIGURES):
            for name in FIGURES:
                setattr(row, name, figures[name])
            row.at = timezone.now()
            changed.append(row)
    if changed:
        DiskHealth.objects.bulk_update(changed, [*FIGURES, "at"])
    if new:
        DiskHealth.objects.bulk_create(new, ignore_conflicts=True)
