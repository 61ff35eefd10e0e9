"""What /RPC2 tells about servers, replicas and work under way, in the story's words."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from deploy.local.place import Place

Call = Callable[..., Any]
"""Calls a method of /RPC2 by name, with its members (deploy.local.rpc_calls, for one)."""

HIGH = 1
MIRROR, DEXT = 2, 3
INSYNC = 2


class Failed(Exception):
    """Something did not come about in its time."""


def wait(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll until it is so; Failed after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)


def present(call: Call) -> tuple[int, int, int]:
    """Count head servers, storage servers and disks that are up."""
    kinds = ("listHeadServers", "listStorageServers", "listPhysicalDisks")
    heads, storages, disks = (sum(t["priority"] == HIGH for t in call(kind)) for kind in kinds)
    return heads, storages, disks


def roomy(call: Call) -> int:
    """Count storage servers with space that can be allocated."""
    return sum(server["available"] > 0 for server in call("listStorageServers"))


def space(call: Call) -> tuple[int, int]:
    """Tell the GB that can be allocated and those that no volume has."""
    disks = call("listPhysicalDisks")
    used = sum(
        replica["capacity"]
        for volume in call("listLogicalVolumes")
        for replica in replicas(call, volume["lvolname"])
    )
    total = sum(disk["capacity"] - 1 for disk in disks)  # one GB holds the label
    return sum(disk["available"] for disk in disks), total - used


def nodes(tree: dict[str, Any], kind: int) -> Iterator[dict[str, Any]]:
    """Walk a volume's tree for the nodes of one lvoltype."""
    if tree["lvoltype"] == kind:
        yield tree
    for component in tree["components"]:
        yield from nodes(component, kind)


def mirrors(call: Call, name: str) -> list[dict[str, Any]]:
    return list(nodes(call("showLogicalVolume", lvolname=name), MIRROR))


def replicas(call: Call, name: str) -> list[dict[str, Any]]:
    return list(nodes(call("showLogicalVolume", lvolname=name), DEXT))


def in_sync(call: Call, name: str) -> int:
    return sum(replica["mirror_status"] == INSYNC for replica in replicas(call, name))


def holder(call: Call, place: Place, name: str) -> str:
    """Name the node that holds most replicas of a volume."""
    holders = [replica["lvolspec"]["ssvrid"] for replica in replicas(call, name)]
    worst = max(sorted(set(holders)), key=holders.count)
    (server,) = call("listStorageServers", ssvrid=worst)
    return next(n.name for n in place.nodes() if list(n.addresses) == server["ip_data"])


def rebuilding(call: Call) -> tuple[int, int]:
    """Tell the MiB copied and to copy of all rebuilds under way."""
    under_way = [job for job in call("vastsky.listJobs") if job["kind"] == "rebuild"]
    return sum(job["done_mib"] for job in under_way), sum(job["total_mib"] for job in under_way)
