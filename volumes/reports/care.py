"""Which servers and disks are in maintenance, or being drained, now."""

from dataclasses import dataclass

from volumes.models import Job
from volumes.repair import drain

Care = dict[tuple[int | None, int | None], Job]
"""The open job by server, or by disk."""


def under_way() -> Care:
    """Read the maintenances and evacuations that are open; in one query."""
    jobs = Job.objects.filter(state=Job.State.OPEN, kind__in=drain.CARE)
    return {(job.server_id, job.disk_id): job for job in jobs}


@dataclass(frozen=True, slots=True)
class Resting:
    """The servers and disks that are in maintenance, or drained now, by themselves."""

    servers: list[int]
    disks: list[int]


def in_maintenance(care: Care) -> Resting:
    """Name what is left alone for a while."""
    return _of_kind(care, Job.Kind.MAINTENANCE)


def draining(care: Care) -> Resting:
    """Name what is being evacuated."""
    return _of_kind(care, Job.Kind.EVACUATE)


def _of_kind(care: Care, kind: Job.Kind) -> Resting:
    jobs = [job for job in care.values() if job.kind == kind]
    return Resting(
        [job.server_id for job in jobs if job.server_id],
        [job.disk_id for job in jobs if job.disk_id],
    )


def of_server(care: Care, server: int) -> Job | None:
    """Find what is done to a storage server as a whole."""
    return care.get((server, None))


def of_disk(care: Care, disk: int, server: int) -> Job | None:
    """Find what is done to a disk, or to the server that it is in."""
    return care.get((None, disk)) or care.get((server, None))
