"""The servers and disks that are out of service or silent: what is behind most problems."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from inventory.models import ALIVE, Disk, HeadServer, Priority, StorageServer
from volumes.repair import grace
from volumes.reports.problems.problem import key_of

OUT = (Priority.OFFLINE, Priority.FAULTY)
CERTIFICATE = "its certificate"
"""How the silence of an address begins whose certificate is not accepted."""


@dataclass(frozen=True, slots=True)
class Out:
    """What is out, read once; `brake` says that too many servers vanished together."""

    storages: dict[int, StorageServer]
    heads: dict[int, HeadServer]
    disks: dict[int, Disk]
    brake: str
    shared: dict[str, str] = field(default_factory=dict)
    """What several servers have in common that is behind their silence, by their own keys."""

    def key(self, row: StorageServer | HeadServer) -> str:
        """Name what is behind a server's being out."""
        own = key_of(row)
        return self.shared.get(own, own)

    def behind(self, server: int | None, disk: int | None) -> str:
        """Name what is behind the loss of something on a server and disk; "" if both serve."""
        if disk in self.disks and self.disks[disk].priority == Priority.FAULTY:
            return key_of(self.disks[disk])
        if server in self.storages:
            return self.key(self.storages[server])
        return key_of(self.disks[disk]) if disk in self.disks else ""


def read(now: datetime) -> Out:
    """Read what is out; of disks those whose server is not."""
    limit = now - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    lost = Q(priority__in=ALIVE, silent_since__lt=limit) | Q(priority__in=OUT)
    storages = StorageServer.objects.filter(lost).prefetch_related("addresses")
    heads = HeadServer.objects.filter(lost).prefetch_related("addresses")
    disks = Disk.objects.filter(priority__in=OUT, server__priority__in=ALIVE)
    brake = grace.brake()
    found = Out(
        {row.pk: row for row in storages.order_by("priority_since", "pk")},
        {row.pk: row for row in heads.order_by("priority_since", "pk")},
        {row.pk: row for row in disks.select_related("server").order_by("priority_since", "pk")},
        brake,
    )
    found.shared.update(_shared(found))
    return found


def silence(row: StorageServer | HeadServer) -> str:
    """Say what came instead of an answer."""
    return "; ".join(sorted({address.silence for address in row.addresses.all()} - {""}))


def _shared(found: Out) -> dict[str, str]:
    """Find what is behind the silence of several servers: a certificate, or a common outage."""
    shared: dict[str, str] = {}
    if found.brake:
        vanished = (row for row in found.storages.values() if row.priority != Priority.FAULTY)
        shared.update((key_of(row), "brake") for row in vanished)
    return shared | _certificates([*found.storages.values(), *found.heads.values()])


def _certificates(rows: Iterable[StorageServer | HeadServer]) -> dict[str, str]:
    distrusted = {key_of(row) for row in rows if silence(row).startswith(CERTIFICATE)}
    together = len(distrusted) > 1
    return dict.fromkeys(distrusted, "certificate") if together else {}
