"""Servers and disks: both change in trust and are deleted."""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, ProtectedError, QuerySet

from inventory import audit, clock, ids, recovery
from inventory.audit import Action
from inventory.errors import Busy, NotFound
from inventory.models import (
    ALIVE,
    Address,
    Cluster,
    Disk,
    Extent,
    HeadServer,
    Priority,
    StorageServer,
)
from inventory.write_lock import write_lock

KINDS = {HeadServer: "head", StorageServer: "storage"}
"""The id space of each, and the field of Address."""
SERVERS: tuple[type[HeadServer] | type[StorageServer], ...] = (HeadServer, StorageServer)
DOWN = (Priority.OFFLINE, Priority.HALT)
"""Registering again makes it usable."""
DELETABLE = (Priority.OFFLINE, Priority.FAULTY)


@transaction.atomic
def delete_head(head_id: int) -> None:
    """Forget a head server that is down and has nothing attached."""
    name = _claim_deletable(HeadServer, head_id)
    _delete(HeadServer(pk=head_id, name=name), "has volumes attached")
    audit.record(Action.DELETE_HEAD, HeadServer(pk=head_id, name=name))


@transaction.atomic
def delete_storage(storage_id: int) -> None:
    """Forget a storage server that is down, and its disks, if no volume has a replica on them."""
    name = _claim_deletable(StorageServer, storage_id)
    _delete_disks(Disk.objects.filter(server=storage_id))
    _delete(StorageServer(pk=storage_id, name=name), "holds replicas of volumes")
    audit.record(Action.DELETE_STORAGE, StorageServer(pk=storage_id, name=name))


@transaction.atomic
def delete_disk(disk_id: int) -> None:
    """Forget a disk that is down and holds no replica of a volume."""
    _claim_deletable(Disk, disk_id)
    _delete_disks(Disk.objects.filter(pk=disk_id))
    audit.record(Action.DELETE_DISK, Disk(pk=disk_id))


@transaction.atomic
def set_priority(
    row: HeadServer | StorageServer | Disk, priority: int, *, was: Collection[int] = ()
) -> bool:
    """Change how far a server or disk is trusted; False if it is not as `row` (or `was`) says.

    Waits for allocations under way, so that none lands on what was just taken out of service.
    """
    ids.lock("volume")
    now = clock.now()
    moved = (
        type(row)
        .objects.filter(pk=row.pk, priority__in=was or [row.priority])
        .exclude(priority=priority)
        .update(priority=priority, priority_since=now)
    )
    if moved:
        row.priority, row.priority_since = priority, now
    return bool(moved)


def halt_all() -> None:
    """Have what is shut down stay so: agents that run still do not bring it back."""
    for kind in SERVERS:
        kind.objects.filter(priority__in=ALIVE).update(halted=True)


def count_halted() -> int:
    """Count the servers that were shut down and are not back."""
    heads = HeadServer.objects.filter(halted=True).values("pk")
    storages = StorageServer.objects.filter(halted=True).values("pk")
    return heads.union(storages, all=True).count()


@write_lock()
def resume() -> int:
    """Let all servers that were shut down register again, as agents do that run; how many."""
    resumed = sum(kind.objects.filter(halted=True).update(halted=False) for kind in SERVERS)
    if resumed:
        audit.record(Action.RESUME, "cluster", f"{resumed} servers may register again")
    return resumed


def cluster() -> Cluster:
    """Tell who we are; a new database becomes a new cluster."""
    return Cluster.objects.get_or_create(pk=1, defaults={"uuid": uuid.uuid4()})[0]


def record_answers(
    kind: type[HeadServer | StorageServer], answers: Mapping[int, str], now: datetime
) -> None:
    """Note which servers answered on one of their addresses at least, and which did not.

    `answers` says by the id of an address what came instead of an answer, "" where one came. The
    first silence since an answer is what counts.
    """
    answered = [pk for pk, failure in answers.items() if not failure]
    Address.objects.filter(pk__in=answered).update(silent_since=None, silence="")
    _record_silence({pk: failure for pk, failure in answers.items() if failure}, now)
    servers = kind.objects.filter(priority__in=ALIVE, addresses__in=answers)
    alive = servers.filter(addresses__in=answered).values("pk")
    kind.objects.filter(pk__in=alive).update(last_answer=now, silent_since=None)
    silent = servers.filter(silent_since=None).exclude(pk__in=alive).values("pk")
    kind.objects.filter(pk__in=silent).update(silent_since=now)


def is_any_silent() -> bool:
    """Tell whether a server, of whatever state, did not answer when it was asked last."""
    return any(
        kind.objects.filter(silent_since__isnull=False).exists()
        for kind in (HeadServer, StorageServer)
    )


def forgive_silence(gap: timedelta) -> None:
    """Leave a time during which nobody was asked out of every silence."""
    for kind in (Address, HeadServer, StorageServer):
        silent = kind.objects.filter(silent_since__isnull=False)
        silent.update(silent_since=F("silent_since") + gap)


def _record_silence(failures: Mapping[int, str], now: datetime) -> None:
    changed = []
    for row in Address.objects.filter(pk__in=failures):
        failure = failures[row.pk][:200]
        if row.silent_since is None or row.silence != failure:
            row.silent_since, row.silence = row.silent_since or now, failure
            changed.append(row)
    Address.objects.bulk_update(changed, ["silent_since", "silence"])


def _claim_deletable(kind: type[HeadServer | StorageServer | Disk], pk: int) -> str:
    """Hold the row until the transaction ends, if it may be deleted; its name."""
    recovery.refuse(f"deleting {kind(pk=pk)}")
    # In the order of set_priority: first the lock, then the row.
    ids.lock("volume")
    row = kind.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        raise NotFound(f"{kind(pk=pk)} does not exist")
    if row.priority not in DELETABLE:
        raise Busy(f"{row.label} is {row.get_priority_display()}, neither OFFLINE nor FAULTY")
    return str(getattr(row, "name", ""))


def _delete_disks(disks: QuerySet[Disk]) -> None:
    extents = Extent.objects.filter(disk__in=disks)
    in_use = extents.filter(status__in=[Extent.Status.BUSY, Extent.Status.EVACUATE]).count()
    if in_use:
        raise Busy(f"{in_use} extents of the disk are part of volumes")
    extents.delete()
    disks.delete()


def _delete(server: HeadServer | StorageServer, reason: str) -> None:
    try:
        server.delete()
    except ProtectedError:
        raise Busy(f"{server.label} {reason}") from None
