"""The methods of the API about volumes, work and lists; a signature is the wire contract."""

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, TypedDict

import inventory.rpc
from agents.protocol import Target
from agents.xmlrpc import INT_MAX
from inventory import clock
from inventory.errors import Invalid, NotFound
from volumes.api import structs
from volumes.attach import attach, detach
from volumes.lifecycle import snapshots, volumes
from volumes.lifecycle.volumes import find_volume
from volumes.models import Job, LogicalVolume, Orphan, Replica
from volumes.repair import arrivals, failures, rebuild, shred
from volumes.reports import tree
from volumes.worker import runner

Struct = dict[str, Any]
Name = Annotated[str, 64]

NEWEST = 10_000
"""Events that listEvents looks through, latest first."""


ORPHANS = 500
"""In one answer of vastsky.listOrphans."""


class Event(IntEnum):
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
    Job.Kind.REBUILD: Event.RESYNC,
    Job.Kind.SHRED: Event.SHRED,
    Job.Kind.MEND: Event.ABNORMAL,
}
ENDED = {
    Job.State.DONE: EventStatus.DONE,
    Job.State.CANCELED: EventStatus.CANCELED,
    Job.State.FAILED: EventStatus.ERROR,
}


class CopyReport(TypedDict):
    """An element of notifyRebuildMirrorFinished's dexts."""

    dextid: int
    dext_status: int


# -- volumes --------------------------------------------------------------------------------------


def create_logical_volume(
    *, lvolname: Name, capacity: int, redundancy: int = 3, tags: Annotated[str, 256] = ""
) -> int:
    """Create a volume of capacity GB in redundancy replicas and return its id."""
    volume = volumes.create_volume(
        name=lvolname, capacity_gb=capacity, redundancy=redundancy, tags=tags
    )
    return volume.pk


def create_snapshot(
    *, snapshot_lvolname: Name, origin_lvolid: int = 0, origin_lvolname: Name = ""
) -> int:
    """Create a snapshot and return its id; it is on the origin's head when this returns."""
    origin = _find_origin(origin_lvolid, origin_lvolname)
    snapshot, job = snapshots.create_snapshot(origin=origin, name=snapshot_lvolname)
    if job is not None:
        runner.wait(job)
    return snapshot.pk


def _find_origin(lvolid: int, lvolname: str) -> LogicalVolume:
    """Find the origin of a new snapshot; the document knows no ENOENT for it."""
    try:
        return find_volume(lvolid=lvolid, lvolname=lvolname)
    except NotFound as refusal:
        raise Invalid(str(refusal)) from None


def delete_logical_volume(*, lvolid: int = 0, lvolname: Name = "") -> None:
    """Delete a volume; EBUSY while it is attached (unless it is a snapshot) or has snapshots."""
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    if not volume.origin_id:
        return volumes.delete_volume(volume)
    job = snapshots.delete_snapshot(volume)
    return None if job is None else runner.wait(job)


def attach_logical_volume(*, hsvrid: int, lvolid: int = 0, lvolname: Name = "") -> None:
    """Attach a volume with its snapshots to a head server; returns when it can be used there."""
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    runner.wait(attach.request_attach(volume, hsvrid))


def detach_logical_volume(*, lvolid: int = 0, lvolname: Name = "") -> None:
    """Detach a volume with its snapshots; returns when no head can write to it any more."""
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    job = detach.request_detach(volume)
    if job is not None:
        runner.wait(job)


def force_attach(*, hsvrid: int, lvolid: int = 0, lvolname: Name = "") -> None:
    """Attach although a replica that cannot be read might be the newest: the operator's word."""
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    runner.wait(attach.request_attach(volume, hsvrid, force=True))


# -- lists ----------------------------------------------------------------------------------------


def list_logical_volumes(*, lvolid: int = 0, lvolname: Name = "") -> list[Struct]:
    """Return one volume, or all."""
    if lvolid or lvolname:
        return [structs.volume_entry(lvolid=lvolid, lvolname=lvolname)]
    return structs.volume_list()


def show_logical_volume(*, lvolid: int = 0, lvolname: Name = "") -> Struct:
    """Return the tree of nodes of which a volume consists."""
    return structs.volume_tree(lvolid=lvolid, lvolname=lvolname)


def list_head_servers(*, hsvrid: int = 0) -> list[Struct]:
    """Return one head server, or all."""
    return structs.head_list(hsvrid)


def list_storage_servers(*, ssvrid: int = 0) -> list[Struct]:
    """Return one storage server, or all, with their room in GB."""
    return structs.storage_list(ssvrid)


def list_physical_disks(*, ssvrid: int = 0) -> list[Struct]:
    """Return the disks of one storage server, or all."""
    return structs.disk_list(ssvrid)


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
        local_path=inventory.rpc.parse_path(local_path),
        capacity_sectors=inventory.rpc.parse_sectors(capacity),
        disk_uuid=disk_uuid,
        tags=tags,
        generation=generation,
        copied=inventory.rpc.parse_copied(copied),
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
    *, mirrorid: int, dexts: list[CopyReport], eventid: int = 0
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


def list_jobs() -> list[Struct]:
    """Return the work that is under way or waiting, oldest first, with its progress."""
    return [_job(job) for job in Job.objects.filter(state=Job.State.OPEN).order_by("pk")]


def list_orphans(*, after: int = 0) -> list[Struct]:
    """Return what nodes hold that the database does not understand, a page at a time, by `id`."""
    rows = Orphan.objects.filter(pk__gt=after).order_by("pk")[:ORPHANS]
    return [_orphan(row) for row in rows]


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


def list_waiting() -> list[Struct]:
    """Return the volumes that wait for storage, longest first, and for how many seconds."""
    return [
        {
            "lvolid": row.pk,
            "lvolname": row.name,
            "seconds": int((clock.now() - since).total_seconds()),
        }
        for row in tree.waiting_volumes()
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
    "createLogicalVolume": create_logical_volume,
    "createSnapshot": create_snapshot,
    "deleteLogicalVolume": delete_logical_volume,
    "attachLogicalVolume": attach_logical_volume,
    "detachLogicalVolume": detach_logical_volume,
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
    "vastsky.forceAttach": force_attach,
    "vastsky.listJobs": list_jobs,
    "vastsky.listOrphans": list_orphans,
    "vastsky.listWaiting": list_waiting,
}
