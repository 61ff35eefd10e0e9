"""The methods of the API about lists, reports and work; a signature is the wire contract."""

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, TypedDict

import inventory.server_rpc
from agents.protocol import Target
from agents.xmlrpc import INT_MAX
from inventory import clock
from inventory.errors import Invalid, NotFound
from inventory.pages import parse_page
from volumes.api import structs
from volumes.models import Job, Orphan, Replica
from volumes.repair import arrivals, failures, rebuild, shred
from volumes.reports import tree

Struct = dict[str, Any]
Name = Annotated[str, 64]

NEWEST = 10_000
"""Events that listEvents looks through, latest first."""

ORPHANS = 500
"""In one answer of vastsky.listOrphans, if it is not said how many."""


class EventType(IntEnum):
    """The wire's event types."""

    ABNORMAL = 1
    RESYNC = 2
    SHRED = 3


class EventStatus(IntEnum):
    """The wire's event states; 0 is none."""

    PENDING = 1
    PROGRESS = 2
    DONE = 3
    CANCELED = 4
    ERROR = 5


EVENTS = {
    Job.Kind.REBUILD: EventType.RESYNC,
    Job.Kind.SHRED: EventType.SHRED,
    Job.Kind.MEND: EventType.ABNORMAL,
}
ENDED = {
    Job.State.DONE: EventStatus.DONE,
    Job.State.CANCELED: EventStatus.CANCELED,
    Job.State.FAILED: EventStatus.ERROR,
}


class ReplicaStatus(TypedDict):
    """An element of notifyRebuildMirrorFinished's dexts."""

    dextid: int
    dext_status: int


# -- lists ----------------------------------------------------------------------------------------


def list_logical_volumes(
    *, lvolid: int = 0, lvolname: Name = "", after: int = 0, limit: int = 0
) -> list[Struct]:
    """Return one volume, or all; limit of them whose ids are beyond after."""
    if lvolid or lvolname:
        return [structs.volume_entry(lvolid=lvolid, lvolname=lvolname)]
    return structs.volume_list(parse_page(after, limit))


def show_logical_volume(*, lvolid: int = 0, lvolname: Name = "") -> Struct:
    """Return the tree of nodes of which a volume consists."""
    return structs.volume_tree(lvolid=lvolid, lvolname=lvolname)


def list_head_servers(*, hsvrid: int = 0, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return one head server, or all; limit of them whose ids are beyond after."""
    return structs.head_list(hsvrid, parse_page(after, limit))


def list_storage_servers(*, ssvrid: int = 0, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return one storage server, or all, with their room in GB; limit of them beyond after."""
    return structs.storage_list(ssvrid, parse_page(after, limit))


def list_physical_disks(*, ssvrid: int = 0, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return the disks of one storage server, or all; limit of them whose ids are beyond after."""
    return structs.disk_list(ssvrid, parse_page(after, limit))


# -- what nodes and monitors tell -----------------------------------------------------------------


def register_physical_disk(
    *,
    ssvrid: int,
    local_path: Annotated[str, 1024],
    capacity: str,
    disk_uuid: Annotated[str, 64] = "",
    tags: Annotated[str, 256] = "",
    generation: int = 0,
    copied: int = 0,
) -> int:
    """Register a disk and return its id; EEXIST when it is in use here, EBUSY when elsewhere.

    capacity is the number of 512-byte sectors, as a decimal string. A disk is known by its
    disk_uuid, or by its local_path when it has none. generation is the newest that its label knows.
    copied: 1 for a copy of the disk that its label was written for, 2 if that is gone for good.
    """
    disk = arrivals.register_disk(
        server_id=ssvrid,
        local_path=inventory.server_rpc.parse_path(local_path),
        capacity_sectors=inventory.server_rpc.parse_sectors(capacity),
        disk_uuid=disk_uuid,
        tags=tags,
        generation=generation,
        copied=inventory.server_rpc.parse_copied(copied),
    )
    return disk.pk


def notify_failure(*, target: int, targetid: int, reason: Annotated[str, 500] = "") -> None:
    """Take note that a head (1), storage server (2), disk (3) or extent (4) failed; idempotent."""
    failures.fail(target, targetid, reason)


def notify_bad_blocks(*, pdskid: int, blocks: list[int]) -> None:
    """Take these 1 GB blocks of a disk out of use, replacing what lives on them first."""
    failures.report_bad_blocks(pdskid, blocks)


def notify_shred_finished(*, dextid: int, eventid: int = 0) -> None:
    """Take note that an extent was zeroed: it is free; idempotent."""
    shred.finish_shred(dextid, eventid)


def notify_rebuild_mirror_finished(
    *, mirrorid: int, dexts: list[ReplicaStatus], eventid: int = 0
) -> None:
    """Take note that replicas of a mirror are in sync (dext_status 2); idempotent."""
    for replica in dexts:
        _check_status(replica["dext_status"])
    reported = [(replica["dextid"], replica["dext_status"]) for replica in dexts]
    rebuild.finish_rebuild(mirrorid, reported, eventid)


def _check_status(number: int) -> None:
    if number not in Replica.Status.values:
        raise Invalid(f"{number} is no dext_status of a replica")


def shutdown_all() -> None:
    """Take every server out of service; EBUSY while a volume is attached."""
    failures.shut_down()


# -- work -----------------------------------------------------------------------------------------


def list_events(*, event_status: int = 0, all: int = 0) -> list[Struct]:  # noqa: A002  wire name
    """Return nothing, as ever; with event_status or all, rebuilds, shreds, unequal blocks."""
    if not event_status and not all:
        return []
    chosen = Job.objects.filter(kind__in=EVENTS).order_by("-pk")
    rows = chosen.values_list("pk", "kind", "state", "started", "extent")[:NEWEST]
    events = (_event(*row) for row in rows)
    return [event for event in events if event["event_status"] == event_status or all]


def list_jobs(*, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return the work that is under way or waiting, oldest first, with its progress.

    limit of it, whose eventids are beyond after.
    """
    rows = Job.objects.filter(state=Job.State.OPEN)
    return [_job(job) for job in parse_page(after, limit).of(rows)]


def show_job(*, eventid: int) -> Struct:
    """Return a job as vastsky.listJobs does, be it over or not; ENOENT once it is forgotten."""
    job = Job.objects.filter(pk=eventid).first()
    if job is None:
        raise NotFound(f"there is no job {eventid}")
    return _job(job)


def list_orphans(*, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return what nodes hold that the database does not understand, a page at a time, by `id`.

    limit of it, or 500, whose ids are beyond after.
    """
    page = parse_page(after, limit or ORPHANS)
    return [_orphan(row) for row in page.of(Orphan.objects.all())]


def _orphan(row: Orphan) -> Struct:
    storage = row.kind in {Orphan.Kind.EXPORT, Orphan.Kind.REPLICA}
    return {
        "id": row.pk,
        "kind": row.kind,
        "ssvrid": row.server if storage else 0,
        "hsvrid": 0 if storage else row.server,
        "disk": row.disk,
        "dextid": row.dextid,
        "lvolid": row.lvolid,
        "epoch": row.epoch,
        "clients": row.clients,
        "name": row.name,
        "reason": row.reason,
    }


def list_waiting(*, after: int = 0, limit: int = 0) -> list[Struct]:
    """Return the volumes that wait for storage, longest first, and for how many seconds.

    With after or limit in the order of their lvolids: limit of them beyond after.
    """
    return [
        {
            "lvolid": row.pk,
            "lvolname": row.name,
            "seconds": int((clock.now() - since).total_seconds()),
        }
        for row in tree.waiting_volumes(parse_page(after, limit))
        if (since := row.waiting_since)
    ]


def _event(
    eventid: int, kind: str, state: str, started: datetime | None, extent: int | None
) -> Struct:
    running = EventStatus.PENDING if started is None else EventStatus.PROGRESS
    return {
        "eventid": eventid,
        "target": int(Target.REPLICA),
        # The extent of a finished shred has become part of the free space around it.
        "targetid": extent or 0,
        "event": int(EVENTS[Job.Kind(kind)]),
        "event_status": int(ENDED.get(Job.State(state), running)),
    }


def _job(job: Job) -> Struct:
    until = f"{clock.on_the_wall(job.deadline):%Y-%m-%dT%H:%M:%SZ}" if job.deadline else ""
    return {
        "eventid": job.pk,
        "kind": job.kind,
        "state": job.state,
        "subject": job.subject,
        "step": job.asked,
        "waiting": job.waiting,
        "done_mib": min(job.done_mib, INT_MAX),
        "total_mib": min(job.total_mib, INT_MAX),
        "errno": job.errno,
        "error": job.error,
        "ssvrid": job.server_id or 0,
        "pdskid": job.disk_id or 0,
        "paused": job.paused,
        "until": until if job.kind == Job.Kind.MAINTENANCE else "",
        "actor": job.actor,
    }


PROCEDURES: dict[str, Callable[..., Any]] = {
    "listLogicalVolumes": list_logical_volumes,
    "showLogicalVolume": show_logical_volume,
    "listHeadServers": list_head_servers,
    "listStorageServers": list_storage_servers,
    "listPhysicalDisks": list_physical_disks,
    "listEvents": list_events,
    "registerPhysicalDisk": register_physical_disk,
    "notifyFailure": notify_failure,
    "notifyBadBlocks": notify_bad_blocks,
    "notifyShredFinished": notify_shred_finished,
    "notifyRebuildMirrorFinished": notify_rebuild_mirror_finished,
    "shutdownAll": shutdown_all,
    "vastsky.listJobs": list_jobs,
    "vastsky.showJob": show_job,
    "vastsky.listOrphans": list_orphans,
    "vastsky.listWaiting": list_waiting,
}
