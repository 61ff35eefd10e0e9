"""Make the manager know the disks of a registered storage server."""

import errno
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from agents.node.manager_client import Fault, ManagerClient
from agents.node.registration import NotYet
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import OpenDisk
from agents.xmlrpc import printable

Row = dict[str, Any]

IN_USE, FAULTY = (1, 2, 3), 5
"""Priorities of disks in service, and of one that was declared failed, on the wire."""

TRANSIENT = frozenset({errno.EAGAIN, errno.ENOSPC, 500})
"""What is no word about the disk."""


def register_disks(manager: ManagerClient, disks: Disks, ssvrid: int) -> None:
    """Register every disk that works; NotYet if one has to be tried again."""
    trouble = []
    listed = cache(partial(_listed, manager, ssvrid))
    for disk in disks:
        if disk.error:
            continue
        try:
            disk.settle(_register(manager, disk, ssvrid, listed))
        except Fault as fault:
            disk.registered = False
            if fault.errno not in TRANSIENT:
                disk.refusal = printable(str(fault))
            trouble.append(f"disk {disk.config.path}: {fault.errno} {fault}")
        else:
            disk.registered, disk.refusal = True, ""
    if trouble:
        raise NotYet("; ".join(trouble))


def _register(
    manager: ManagerClient, disk: OpenDisk, ssvrid: int, listed: Callable[[], list[Row]]
) -> int:
    try:
        return manager.number(
            "registerPhysicalDisk",
            ssvrid=ssvrid,
            local_path=disk.config.path,
            capacity=str(disk.sectors),
            disk_uuid=disk.uuid,
            tags=disk.config.tags,
            generation=disk.super_extent.newest_generation,
            copied=_copied(disk),
        )
    except Fault as fault:
        if fault.errno != errno.EEXIST:
            raise
        # In use here: the server was adopted, or an answer got lost. Or declared failed, anywhere.
        known = _known_here(disk, [row for row in listed() if row.get("priority") != FAULTY])
        if known is None:
            raise
        return int(known["pdskid"])


def _copied(disk: OpenDisk) -> int:
    """Tell whether it is a copy: 1, or 2 where somebody said that the original is gone for good."""
    return (2 if disk.config.accept_copy else 1) if disk.is_copy else 0


def _listed(manager: ManagerClient, ssvrid: int) -> list[Row]:
    """Ask which disks the manager knows here."""
    rows = manager.rows("listPhysicalDisks", ssvrid=ssvrid)
    return [row for row in rows if type(row.get("pdskid")) is int]


def _known_here(disk: OpenDisk, rows: list[Row]) -> Row | None:
    """Pick the disk's row: by its number, or by its path if the answer with that got lost."""
    same = [row for row in rows if row["pdskid"] == disk.label.pdskid]
    in_use = [row for row in rows if row.get("priority") in IN_USE]
    same += [row for row in in_use if row.get("local_path") == disk.config.path]
    return same[0] if same else None
