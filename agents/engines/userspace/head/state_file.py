"""What is kept on disk about a group: one JSON file, replaced as a whole."""

import contextlib
import json
import os
from typing import Any

VERSION = 1
FILE = "group.json"
GROWTH_BYTES = 4096


def read_record(folder: str) -> dict[str, Any] | None:
    """Read a group's record; None where there is none that is whole and of our version."""
    try:
        with open(f"{folder}/{FILE}", encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("version") == VERSION else None


def write_record(folder: str, record: dict[str, Any]) -> None:
    """Replace a group's record, durably, and keep room for the next one: the disk may fill up."""
    path = f"{folder}/{FILE}"
    content = json.dumps(record).encode()
    with open(path + ".new", "wb", opener=_open_kept) as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError), open(path + ".new", "wb", opener=_open_kept) as file:
        os.posix_fallocate(file.fileno(), 0, len(content) + GROWTH_BYTES)


def _open_kept(path: str, flags: int) -> int:
    """Open without cutting off what is there: it is room that others would take."""
    return os.open(path, flags & ~os.O_TRUNC, 0o600)


def replica_state(
    mirror: dict[str, Any], replica: dict[str, Any], *, alive: bool
) -> dict[str, Any]:
    """Tell of a replica, from a record, as the protocol's ReplicaReport wants it."""
    state = replica["state"]
    if state in {"queued", "building"}:
        state = "spare" if alive else "faulty"
    return {
        "dextid": replica["dextid"],
        "mirrorid": mirror["mirrorid"],
        "state": state,
        "events": replica.get("events", 0),
        "why": replica["why"] if alive or state == replica["state"] else "stale",
        "done_mib": replica.get("done_mib", 0),
        "total_mib": replica.get("total_mib", 0),
    }


def replica_states(record: dict[str, Any], *, alive: bool) -> list[dict[str, Any]]:
    """Tell of all replicas of a group."""
    return [
        replica_state(mirror, replica, alive=alive)
        for device in record["devices"]
        for mirror in device["mirrors"]
        for replica in mirror["legs"]
    ]
