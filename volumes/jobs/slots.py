"""How much long work may run at once: on a disk, on a server, in the cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from inventory.models import Disk, StorageServer
from inventory.write_lock import write_lock
from volumes.models import Job


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings for one kind of work."""

    per_disk: int
    per_server: int
    total: int


def rebuilds() -> Limits:
    """Read the limits of rebuilds; the disk and server are those of the new replica."""
    return Limits(
        settings.VASTSKY_REBUILDS_PER_DISK,
        settings.VASTSKY_REBUILDS_PER_SERVER,
        settings.VASTSKY_REBUILDS_TOTAL,
    )


def shreds() -> Limits:
    """Read the limits of shreds."""
    return Limits(
        settings.VASTSKY_SHREDS_PER_DISK,
        settings.VASTSKY_SHREDS_PER_SERVER,
        settings.VASTSKY_SHREDS_TOTAL,
    )


def begin(
    kind: Job.Kind, limits: Limits, start: Callable[[], None], *, disk: int, server: int
) -> str:
    """Start one more here, if no limit forbids it now; "" if it was started, else which does."""
    if limit := _refusal(kind, limits, disk, server):
        return limit  # most that wait end here, without taking the write lock
    with write_lock():
        # Others may have begun since then.
        if not (limit := _refusal(kind, limits, disk, server)):
            start()
    return limit


def _refusal(kind: Job.Kind, limits: Limits, disk: int, server: int) -> str:
    running = Job.objects.filter(kind=kind, state=Job.State.OPEN, ordered=True)
    rows = list(running.values_list("extent__disk", "extent__disk__server"))
    counts: tuple[tuple[int, int, Callable[[], str]], ...] = (
        (len(rows), limits.total, lambda: "in the cluster"),
        (sum(row[0] == disk for row in rows), limits.per_disk, partial(_on_disk, disk)),
        (sum(row[1] == server for row in rows), limits.per_server, partial(_on_server, server)),
    )
    for count, limit, where in counts:
        if count >= limit:
            return f"{count} of at most {limit} {kind}s are running {where()}"
    return ""


def _on_disk(pk: int) -> str:
    row = Disk.objects.select_related("server").filter(pk=pk).first()
    return f"on {(row or Disk(pk=pk)).label}"


def _on_server(pk: int) -> str:
    row = StorageServer.objects.filter(pk=pk).first()
    return f"on {(row or StorageServer(pk=pk)).label}"
