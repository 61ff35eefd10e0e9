"""Everything of a kind goes dark at once; what was acknowledged is there when the light returns."""

from contextlib import suppress

import pytest

from deploy.local.ledger import Ledger
from tests.cluster.world import World

BOUND, UNBOUND = (1, 0), (0, 0)
HSVR = 1
HIGH, HALT = 1, 6


def test_all_storage_servers_die_and_come_back(world: World) -> None:
    world.create("dark")
    world.attach("dark")
    ledger = world.fill("dark")
    storages = [node.name for node in world.place.nodes() if node.role == "storage"]

    for name in storages:
        world.cluster.kill(name)
    with world.open("dark") as device, pytest.raises(OSError, match="Input/output error"):
        ledger.verify(device)
    for name in storages:
        world.cluster.launch(name)

    world.wait(lambda: _is_whole(world, "dark", ledger), "every byte and every replica is back", 90)
    assert world.settle("dark") == BOUND


def test_everything_but_the_manager_dies_and_each_volume_comes_back_by_itself(
    world: World,
) -> None:
    world.create("buried")
    world.attach("buried")
    ledger = world.fill("buried")
    nodes = [node.name for node in world.place.nodes()]

    for name in nodes:
        world.cluster.kill(name)
    world.wait(lambda: _high(world) == 0, "all storage servers are out")
    for name in nodes:
        world.cluster.launch(name)

    world.wait(lambda: _is_whole(world, "buried", ledger), "every byte and replica is back", 90)
    assert world.settle("buried") == BOUND


def test_a_head_that_loses_its_power_gives_its_volume_to_the_next_boot(world: World) -> None:
    world.create("orphan")
    world.attach("orphan")
    ledger = world.fill("orphan")
    head = world.head()

    world.cluster.kill("head-1")
    world.call("notifyFailure", target=HSVR, targetid=head)
    world.wait(lambda: world.state("orphan") == UNBOUND, "the dead head is fenced off")
    world.cluster.launch("head-1")
    world.wait(world.up, "the head is back")

    world.attach("orphan")
    assert world.verify("orphan", ledger)
    world.wait(lambda: world.healed("orphan"), "all replicas are in sync")


def test_a_shutdown_lasts_until_a_node_is_started_anew_or_a_person_says_so(world: World) -> None:
    world.call("shutdownAll")
    nodes = world.place.nodes()
    world.wait(lambda: all(_is_refused(world, node.name) for node in nodes), "all agents tried", 60)
    assert {row["priority"] for row in world.call("listStorageServers")} == {HALT}
    assert {row["priority"] for row in world.call("listPhysicalDisks")} == {HALT}

    world.cluster.kill("storage-1")
    world.cluster.launch("storage-1")
    world.wait(lambda: _high(world) == 1, "the server that was started anew is back")

    assert world.call("vastsky.resume") == len(nodes) - 1
    world.wait(world.up, "all are back")


def _is_refused(world: World, node: str) -> bool:
    return "was shut down with the cluster" in world.place.log(node).read_text(errors="replace")


def _high(world: World) -> int:
    return sum(row["priority"] == HIGH for row in world.call("listStorageServers"))


def _is_whole(world: World, name: str, ledger: Ledger) -> bool:
    with suppress(OSError):
        return world.verify(name, ledger) and world.healed(name)
    return False
