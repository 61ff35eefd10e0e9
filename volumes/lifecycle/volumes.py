"""Volumes are created, found and deleted."""

import re

from django.db import IntegrityError
from django.db.models import Q

from inventory import audit, ids, recovery
from inventory.errors import Busy, Exists, Invalid, NotFound
from inventory.write_lock import write_lock
from volumes.jobs import queue
from volumes.models import Attachment, LogicalVolume
from volumes.placement import allocation
from volumes.placement.layout import mirror_sizes

NAME = re.compile(r"[-._a-zA-Z0-9]{1,64}")
LIKE_AN_ID = re.compile(r"lvol-[0-9a-fA-F]+")
CAPACITY_GB = range(1, 1048577)
REDUNDANCY = range(2, 10)


def check_name(name: str) -> None:
    """Refuse a name that a head could not show under /dev/vas or that looks like an id."""
    if not NAME.fullmatch(name):
        raise Invalid(f"a volume's name is 1 to 64 of -._a-zA-Z0-9, not {name[:80]!r}")
    if name in {".", ".."} or LIKE_AN_ID.fullmatch(name):
        raise Invalid(f"{name!r} has another meaning and cannot name a volume")


def check_size(capacity_gb: int, redundancy: int) -> None:
    """Refuse a size or a redundancy that no volume may have."""
    if capacity_gb not in CAPACITY_GB:
        raise Invalid(f"a volume has 1 to {CAPACITY_GB[-1]} GiB, not {capacity_gb}")
    if redundancy not in REDUNDANCY:
        raise Invalid(f"a volume is kept in 2 to {REDUNDANCY[-1]} replicas, not {redundancy}")


@write_lock()
def create_volume(
    *, name: str, capacity_gb: int, redundancy: int = 3, tags: str = ""
) -> LogicalVolume:
    """Reserve room for every replica and record the volume; all or nothing."""
    recovery.refuse(f"creating {name[:80]}")
    check_name(name)
    check_size(capacity_gb, redundancy)
    volume = LogicalVolume(
        name=name,
        capacity_gb=capacity_gb,
        store_gb=capacity_gb,
        redundancy=redundancy,
        tags=tags,
    )
    record(volume)
    allocation.reserve(volume, mirror_sizes(capacity_gb))
    detail = f"{name}, {capacity_gb} GiB in {redundancy} replicas"
    audit.record(audit.Action.CREATE_VOLUME, volume, detail)
    return volume


def record(volume: LogicalVolume) -> None:
    """Number and insert a new volume; Exists, which ends the transaction, if its name is taken."""
    volume.id, volume.node_id, volume.linear_id = ids.take("volume", 3)
    try:
        volume.save(force_insert=True)
    except IntegrityError:
        raise Exists(f"a volume named {volume.name} exists") from None


def find_volume(*, lvolid: int = 0, lvolname: str = "") -> LogicalVolume:
    """Find a volume by its id, or else by its name."""
    if not lvolid and not lvolname:
        raise Invalid("neither lvolid nor lvolname is given")
    which = Q(pk=lvolid) if lvolid else Q(name=lvolname)
    volume = LogicalVolume.objects.filter(which).first()
    if volume is None:
        raise NotFound(f"there is no volume {lvolid or lvolname}")
    return volume


@write_lock()
def delete_volume(volume: LogicalVolume) -> None:
    """Delete a volume that nobody uses; its space is shredded before anybody gets it again."""
    recovery.refuse(f"deleting {volume.name}")
    held = LogicalVolume.objects.filter(pk=volume.pk).first()
    if held is None:
        raise NotFound(f"there is no volume {volume.name} any more")
    if held.origin_id:
        raise Invalid(f"{held.name} is a snapshot")
    if snapshots := held.snapshots.count():
        raise Busy(f"{held.name} has {snapshots} snapshots")
    if attachment := Attachment.objects.filter(volume=held).first():
        raise Busy(f"{held.name} is {attachment.state} on {attachment.head.label}")
    if job := queue.exclusive(held):
        raise Busy(f"{held.name}: {job.kind} is under way")
    audit.record(audit.Action.DELETE_VOLUME, held, held.name)
    allocation.give_back(held)
