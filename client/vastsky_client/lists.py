"""How lists are shown. Scripts have read these columns since 2010: none moves, none is renamed."""

from collections.abc import Sequence
from typing import Any

Struct = dict[str, Any]

PRIORITIES = {1: "HIGH", 2: "LOW", 3: "EVACUATE", 4: "OFFLINE", 5: "FAULTY", 6: "HALT"}
ERROR = 2
"""The bind_status of an attachment that failed halfway."""
MARKS = {0: " ", 1: "+", 2: "-"}
"""By bind_event: at rest, being attached, being detached."""

VOLUME = "%-14s %-12s %12s %8s %-14s %-12s %-19s"
HEAD = "%-14s %-9s %5s"
STORAGE = "%-14s %-9s %5s %10s %10s %5s"
DISK = "%-14s %-14s %-9s%6s %10s %10s %5s %-18s"
MORE = " " * 8
"""Begins a line that says more about the one above."""


def volumes(structs: Sequence[Struct]) -> list[str]:
    """Show volumes, each with its origin or its snapshots below."""
    head = ("lvolid", "lvolname", "redundancy", "capacity", " hsvrid", "failure", "ctime")
    lines = [VOLUME % head]
    for struct in structs:
        fault = "yes" if struct["fault"] else "---"
        lines.append(
            VOLUME
            % (
                f"lvol-{struct['lvolid']:08x}",
                struct["lvolname"],
                struct["redundancy"],
                f"{struct['capacity']} GB",
                _place(struct),
                fault,
                struct["ctime"],
            )
        )
        lines += [f"{MORE}snapshot of lvol-{to['lvolid']:08x}" for to in struct["associated_to"]]
        snapshots = struct["associated_from"]
        lines += [f"{MORE}snapshot-origin of lvol-{of['lvolid']:08x}" for of in snapshots]
    return lines


def heads(structs: Sequence[Struct]) -> list[str]:
    """Show head servers, each with its addresses below."""
    lines = [HEAD % ("hsvrid", "priority", "resync")]
    for struct in structs:
        name = f"hsvr-{struct['hsvrid']:08x}"
        lines.append(HEAD % (name, PRIORITIES[struct["priority"]], struct["resync"]))
        lines += _addresses(struct)
    return lines


def storages(structs: Sequence[Struct]) -> list[str]:
    """Show storage servers with their room, each with its addresses below."""
    lines = [
        _total(structs),
        STORAGE % ("ssvrid", "priority", "resync", "capacity", "available", "use%"),
    ]
    for struct in structs:
        name = f"ssvr-{struct['ssvrid']:08x}"
        state = PRIORITIES[struct["priority"]], struct["resync"]
        lines.append(STORAGE % (name, *state, *_room(struct)))
        lines += _addresses(struct)
    return lines


def disks(structs: Sequence[Struct]) -> list[str]:
    """Show disks with their room."""
    columns = ("pdskid", "ssvrid", "priority", "resync", "capacity", "available", "use%")
    lines = [_total(structs), DISK % (*columns, "local_path")]
    for struct in structs:
        names = f"pdsk-{struct['pdskid']:08x}", f"ssvr-{struct['ssvrid']:08x}"
        state = PRIORITIES[struct["priority"]], struct["resync"]
        lines.append(DISK % (*names, *state, *_room(struct), struct["local_path"]))
    return lines


def _place(struct: Struct) -> str:
    if not struct["hsvrid"]:
        return " ---"
    mark = "*" if struct["bind_status"] == ERROR else MARKS[struct["bind_event"]]
    return f"{mark}hsvr-{struct['hsvrid']:08x}"


def _addresses(struct: Struct) -> list[str]:
    """One line an address; the manager names one twice when it stands for both networks."""
    return [f"{MORE}inet {address}" for address in dict.fromkeys(struct["ip_data"]) if address]


def _total(structs: Sequence[Struct]) -> str:
    capacity = sum(struct["capacity"] for struct in structs)
    available = sum(struct["available"] for struct in structs)
    return f"total {capacity} GB available {available} GB use% {_used(capacity, available)}"


def _room(struct: Struct) -> tuple[str, str, str]:
    capacity, available = struct["capacity"], struct["available"]
    return f"{capacity} GB", f"{available} GB", _used(capacity, available)


def _used(capacity_gb: int, available_gb: int) -> str:
    return f"{(capacity_gb - available_gb) * 100 // capacity_gb if capacity_gb else 0}%"
