"""The methods of the API that change volumes; a signature is the method's wire contract.

`converge`: 1 lets a call that comes again, because its answer was lost, end as the first one did.
"""

from collections.abc import Callable
from typing import Annotated, Any

from inventory import names
from inventory.errors import Invalid, NotFound
from inventory.models import HeadServer
from volumes.attach import attach, detach
from volumes.lifecycle import convergence, snapshots, volumes
from volumes.lifecycle.volumes import find_volume
from volumes.models import Job, LogicalVolume
from volumes.worker import runner

Name = Annotated[str, 64]


def create_logical_volume(
    *,
    lvolname: Name,
    capacity: int,
    redundancy: int = 3,
    tags: Annotated[str, 256] = "",
    converge: int = 0,
) -> int:
    """Create a volume of capacity GB in redundancy replicas and return its id.

    converge: one of this name, size, redundancy and tags that is there already is the result.
    """
    create = convergence.create_volume if converge else volumes.create_volume
    volume = create(name=lvolname, capacity_gb=capacity, redundancy=redundancy, tags=tags)
    return volume.pk


def create_snapshot(
    *,
    snapshot_lvolname: Name,
    origin_lvolid: int = 0,
    origin_lvolname: Name = "",
    converge: int = 0,
) -> int:
    """Create a snapshot and return its id; it is on the origin's head when this returns.

    converge: one of this name and origin that is there already is the result.
    """
    origin = _find_origin(origin_lvolid, origin_lvolname)
    create = convergence.create_snapshot if converge else snapshots.create_snapshot
    snapshot, job = create(origin=origin, name=snapshot_lvolname)
    _wait(job)
    return snapshot.pk


def _find_origin(lvolid: int, lvolname: str) -> LogicalVolume:
    """Find the origin of a new snapshot; the document knows no ENOENT for it."""
    try:
        return find_volume(lvolid=lvolid, lvolname=lvolname)
    except NotFound as refusal:
        raise Invalid(str(refusal)) from None


def delete_logical_volume(*, lvolid: int = 0, lvolname: Name = "", converge: int = 0) -> None:
    """Delete a volume; EBUSY while it is attached (unless it is a snapshot) or has snapshots.

    converge: one that is not there is deleted.
    """
    if converge:
        return _wait(convergence.delete(lvolid=lvolid, lvolname=lvolname))
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    if not volume.origin_id:
        return volumes.delete_volume(volume)
    return _wait(snapshots.delete_snapshot(volume))


def attach_logical_volume(
    *,
    hsvrid: int = 0,
    hsvrname: Name = "",
    lvolid: int = 0,
    lvolname: Name = "",
    converge: int = 0,
) -> None:
    """Attach a volume with its snapshots to a head server; returns when it can be used there.

    hsvrname names the head in place of hsvrid: its name, or its host's. converge: a volume that is
    attached there is attached; one that is on its way there is waited for.
    """
    head = hsvrid or _head_named(hsvrname)
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    if converge:
        return _wait(convergence.attach_volume(volume, head))
    return runner.wait(attach.request_attach(volume, head))


def _head_named(name: str) -> int:
    """Find a head by name; the document knows EINVAL alone for one that does not exist."""
    if not name:
        raise Invalid("neither hsvrid nor hsvrname is given")
    try:
        return names.find(HeadServer, name).pk
    except NotFound as refusal:
        raise Invalid(str(refusal)) from None


def detach_logical_volume(*, lvolid: int = 0, lvolname: Name = "", converge: int = 0) -> None:
    """Detach a volume with its snapshots; returns when no head can write to it any more.

    converge: a detach that is under way is waited for.
    """
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    request = convergence.detach_volume if converge else detach.request_detach
    _wait(request(volume))


def force_attach(*, hsvrid: int, lvolid: int = 0, lvolname: Name = "") -> None:
    """Attach although a replica that cannot be read might be the newest: the operator's word."""
    volume = find_volume(lvolid=lvolid, lvolname=lvolname)
    runner.wait(attach.request_attach(volume, hsvrid, force=True))


def _wait(job: Job | None) -> None:
    if job is not None:
        runner.wait(job)


PROCEDURES: dict[str, Callable[..., Any]] = {
    "createLogicalVolume": create_logical_volume,
    "createSnapshot": create_snapshot,
    "deleteLogicalVolume": delete_logical_volume,
    "attachLogicalVolume": attach_logical_volume,
    "detachLogicalVolume": detach_logical_volume,
    "vastsky.forceAttach": force_attach,
}
