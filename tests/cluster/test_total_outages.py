"""Everything of a kind goes dark at once; what was acknowledged is there when the light returns."""

from contextlib import suppress

import pytest

from deploy.local.ledger import Ledger
from tests.cluster.world import World

BOUND, UNBOUND = (1, 0), (0, 0)
HSVR = 1


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


def _is_whole(world: World, name: str, ledger: Ledger) -> bool:
    with suppress(OSError):
        return world.verify(name, ledger) and world.healed(name)
    return False
