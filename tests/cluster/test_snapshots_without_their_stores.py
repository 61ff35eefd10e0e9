"""A head's process dies while the store of one snapshot is out of reach."""

import errno
import itertools

import pytest

from deploy.local import observe
from deploy.local.ledger import Ledger
from deploy.local.nbd import NbdError
from tests.cluster.world import World

BOUND = (1, 0)


def test_a_snapshot_stays_what_it_was_when_its_store_was_away_while_the_head_came_back(
    world: World,
) -> None:
    ledger, stores = frozen_on_other_servers(world)
    for node in stores:
        world.cluster.kill(node)
    world.kill_head_process("life")
    world.wait(lambda: readable(world, "life"), "the head's process is back")
    assert not readable(world, "frozen")

    for node in stores:
        world.cluster.launch(node)
    world.wait(lambda: readable(world, "frozen"), "the snapshot is back")
    world.fill("life")

    assert world.verify("frozen", ledger)
    world.detach("life")
    world.attach("life")
    assert world.verify("frozen", ledger)
    world.wait(lambda: not volume(world, "frozen")["fault"], "both replicas of its store are good")


def test_a_snapshot_whose_store_stays_away_is_broken_and_its_origin_goes_on(world: World) -> None:
    _, stores = frozen_on_other_servers(world)
    for node in stores:
        world.cluster.kill(node)
    world.kill_head_process("life")
    world.wait(lambda: readable(world, "life"), "the head's process is back")

    ledger = world.fill("life")
    world.wait(lambda: bool(volume(world, "frozen")["fault"]), "the manager knows", 10)
    for node in stores:
        world.cluster.launch(node)
    world.wait(world.up, "the store's servers are back")

    assert 5 < ledger.longest_write < 30
    assert world.verify("life", ledger)
    with world.open("frozen") as device, pytest.raises(NbdError) as refused:
        device.read(0, 4096)
    assert refused.value.errno == errno.EIO
    world.detach("life")
    world.attach("life")
    assert world.state("life") == BOUND
    assert sorted(
        link.name for link in world.place.links.iterdir() if "lvol-" not in link.name
    ) == ["life"]
    assert world.verify("life", ledger)


def frozen_on_other_servers(world: World) -> tuple[Ledger, list[str]]:
    """Freeze a volume into a snapshot whose store shares no server with it; the store's nodes."""
    world.create("life", capacity=1, redundancy=2)
    world.attach("life")
    ledger = world.fill("life")
    for number in itertools.count():
        world.call("createSnapshot", origin_lvolname="life", snapshot_lvolname="frozen")
        stores = nodes_of(world, "frozen")
        if not stores & nodes_of(world, "life"):
            return ledger, sorted(stores)
        world.delete("frozen")
        world.create(f"pad{number}", capacity=1, redundancy=2)
    raise AssertionError


def nodes_of(world: World, name: str) -> set[str]:
    servers = {row["lvolspec"]["ssvrid"] for row in observe.replicas(world.call, name)}
    known = {row["ssvrid"]: row["ip_data"] for row in world.call("listStorageServers")}
    return {n.name for n in world.place.nodes() if list(n.addresses) in [known[s] for s in servers]}


def volume(world: World, name: str) -> dict[str, object]:
    (row,) = world.call("listLogicalVolumes", lvolname=name)
    return dict(row)


def readable(world: World, name: str) -> bool:
    try:
        with world.open(name) as device:
            device.read(0, 4096)
    except OSError:
        return False
    return True
