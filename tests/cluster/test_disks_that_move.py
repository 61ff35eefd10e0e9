"""Disks are put into other servers of a running cluster."""

from pathlib import Path

from deploy.local import node_processes, observe
from deploy.local.place import LocalNode
from tests.cluster.world import World

BOUND = (1, 0)


def _holders(world: World, name: str) -> dict[int, int]:
    """Tell on which disk each server has a replica of the volume."""
    places = [replica["lvolspec"] for replica in observe.replicas(world.call, name)]
    return {place["ssvrid"]: place["pdskid"] for place in places}


def _node(world: World, ssvrid: int) -> LocalNode:
    (server,) = world.call("listStorageServers", ssvrid=ssvrid)
    return next(n for n in world.place.nodes() if list(n.addresses) == server["ip_data"])


def _disk(world: World, pdskid: int) -> tuple[Path, int, int]:
    """Tell at which path a disk is, of which server, and its priority."""
    row = next(d for d in world.call("listPhysicalDisks") if d["pdskid"] == pdskid)
    return Path(row["local_path"]), row["ssvrid"], row["priority"]


def _without(world: World, servers: set[int]) -> int:
    """Pick a server that holds nothing of the volume."""
    rows = world.call("listStorageServers")
    return int(next(row["ssvrid"] for row in rows if row["ssvrid"] not in servers))


def _swap(world: World, pdskid: int, ssvrid: int) -> None:
    """Put a disk into the place of one of another server, and that one into its place."""
    mine = _disk(world, pdskid)[0]
    other = node_processes.disks(world.place, _node(world, ssvrid))[0]
    aside = mine.rename(mine.with_name("aside"))
    other.rename(mine)
    aside.rename(other)


def _is_in(world: World, pdskid: int, ssvrid: int) -> bool:
    return _disk(world, pdskid)[1:] == (ssvrid, observe.HIGH)


def test_two_servers_swap_their_disks_under_an_attached_volume(world: World) -> None:
    world.create("swapped")
    world.attach("swapped")
    ledger = world.fill("swapped")
    holders = _holders(world, "swapped")
    old, pdskid = next(iter(holders.items()))
    new = _without(world, set(holders))

    _swap(world, pdskid, new)

    world.wait(lambda: _is_in(world, pdskid, new), "the disk is in use where it is now")
    world.wait(world.up, "all disks are in use, each where it is")
    assert old != new
    world.wait(lambda: world.healed("swapped"), "three good replicas again")
    assert world.verify("swapped", ledger)
    assert world.verify("swapped", world.fill("swapped"))


def test_the_last_replica_is_used_from_the_server_into_which_its_disk_was_put(world: World) -> None:
    world.create("saved", redundancy=2)
    world.attach("saved")
    ledger = world.fill("saved")
    world.detach("saved")
    (one, pdskid), (other, _) = _holders(world, "saved").items()
    dead = [_node(world, ssvrid).name for ssvrid in (one, other)]
    new = _without(world, {one, other})

    for name in dead:
        world.cluster.kill(name)
    _swap(world, pdskid, new)

    world.wait(lambda: _is_in(world, pdskid, new), "the disk is in use where it is now")
    world.attach("saved")
    assert world.state("saved") == BOUND
    assert world.verify("saved", ledger)
