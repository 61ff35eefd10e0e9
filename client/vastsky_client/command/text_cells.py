"""How values are shown to people: names before ids, sizes with units, states in words."""

from typing import Any

from vastsky_client.command.server_names import written
from vastsky_client.lists import ERROR, PRIORITIES
from vastsky_client.trees import STATUS

Row = dict[str, Any]
BEING = {1: "being attached", 2: "being detached"}
UNIT = 1024


def server(row: Row) -> str:
    """Name the server of a row, or write its id; empty where it has none."""
    for kind in ("hsvrid", "ssvrid"):
        if row.get(kind):
            return str(row.get(f"{kind[:4]}name") or written(kind, row[kind]))
    return ""


def attachment(row: Row) -> str:
    """Say where a volume is, or is going to be."""
    if not row["hsvrid"]:
        return "-"
    if row["bind_status"] == ERROR:
        return f"{server(row)}, failed: detach it"
    being = BEING.get(row["bind_event"])
    return f"{server(row)}, {being}" if being else server(row)


def gb(number: int) -> str:
    """Write what the API counts in GB, units of 2^30 bytes, as what they are."""
    if number >= 10 * UNIT:
        return f"{number / UNIT:.1f} TiB"
    return f"{number} GiB"


def figure(number: float) -> str:
    """Write three digits of a number, and all before the point."""
    return f"{number:.0f}" if number >= 100 or not number else f"{number:.3g}"  # noqa: PLR2004


def much(number: float) -> str:
    """Write how many bytes."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    place = 0
    while number >= UNIT and place < len(units) - 1:
        number, place = number / UNIT, place + 1
    return f"{figure(number)} {units[place]}"


def used(row: Row) -> str:
    """Write how much of a place is used."""
    capacity = row["capacity"]
    return f"{(capacity - row['available']) * 100 // capacity}%" if capacity else "-"


def priority(row: Row) -> str:
    """Name how far a server or disk is trusted."""
    return PRIORITIES.get(row["priority"], str(row["priority"]))


def sync(number: int) -> str:
    """Name how good a replica is."""
    return STATUS.get(number, "")


def progress(row: Row) -> str:
    """Write how far a job is."""
    if row["state"] != "open" or not row["total_mib"]:
        return str(row["state"])
    return f"{100 * row['done_mib'] // row['total_mib']}%"


def yes(flag: object) -> str:
    """Write what is true."""
    return "yes" if flag else "-"


def names(volumes: list[Row]) -> str:
    """Name volumes."""
    return ", ".join(volume["lvolname"] for volume in volumes) or "-"
