"""How much long work may run at once: on a disk, on a server, in the cluster."""

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from inventory.write_lock import write_lock
from volumes import labels
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
    on_disk = sum(row[0] == disk for row in rows)
    on_server = sum(row[1] == server for row in rows)
    if len(rows) >= limits.total:
        return f"{len(rows)} of at most {limits.total} {kind}s are running in the cluster"
    if on_disk >= limits.per_disk:
        return f"{on_disk} of at most {limits.per_disk} {kind}s are running on {labels.disk(disk)}"
    if on_server >= limits.per_server:
        where = labels.storage(server)
        return f"{on_server} of at most {limits.per_server} {kind}s are running on {where}"
    return ""
