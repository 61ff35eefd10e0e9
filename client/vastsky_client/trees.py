"""How the tree of a volume is shown: its mirrors in order, and the replicas of each."""

from typing import Any

from vastsky_client.lists import MORE

Struct = dict[str, Any]

ROW = "%-14s %8s %8s | %-14s %-14s %8s %-14s %-5s"
PLACE = ("mirror", "offset", "capacity")
REPLICA = ("disk-extent", "physical-disk", "offset", "server", "sync")
STATUS = {1: "ALLOCATED", 2: "INSYNC", 3: "SPARE", 4: "FAULTY"}
SNAPSHOT = 7
"""The lvoltype of a snapshot's node."""


def volume(lvol: Struct) -> list[str]:
    """Show one volume as lvol_show always did, then the volumes of its group."""
    spec, (node,) = lvol["lvolspec"], lvol["components"]
    (linear,) = node["components"]
    title = (
        f"lvolid: lvol-{lvol['lvolid']:08x} lvol_name: {spec['lvolname']} "
        f"capacity: {lvol['capacity']} GB redundancy: {spec['redundancy']}"
    )
    lines = [title, ROW % (*PLACE, *REPLICA)]
    offset = 0
    for mirror in linear["components"]:
        lines += _mirror(mirror, offset)
        offset += mirror["capacity"]
    is_snapshot = node["lvoltype"] == SNAPSHOT
    relation = "snapshot of" if is_snapshot else "snapshot-origin of"
    lines += [f"{MORE}{relation} {_name(other)}" for other in spec["assoc"]]
    return lines


def _mirror(mirror: Struct, offset_gb: int) -> list[str]:
    place = f"mirr-{mirror['lvolid']:08x}", f"{offset_gb} GB", f"{mirror['capacity']} GB"
    return [ROW % (*place, "", "", "", "", ""), *map(_replica, mirror["components"])]


def _replica(extent: Struct) -> str:
    spec = extent["lvolspec"]
    return ROW % (
        *("", "", ""),
        f"dext-{extent['lvolid']:08x}",
        f"pdsk-{spec['pdskid']:08x}",
        f"{spec['offset']} GB",
        f"ssvr-{spec['ssvrid']:08x}",
        STATUS[extent["mirror_status"]],
    )


def _name(lvol: Struct) -> str:
    return f"lvol-{lvol['lvolid']:08x} {lvol['lvolspec']['lvolname']}"
