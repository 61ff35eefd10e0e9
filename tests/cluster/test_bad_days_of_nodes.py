"""Nodes that die at the worst moment; the world fixture then asks fsck and looks for orphans."""

import signal
from contextlib import suppress
from xmlrpc.client import Fault

import pytest

from deploy.local import node_processes, observe
from tests.cluster.world import World

EBUSY = 16
UNBOUND, BOUND, BINDING = (0, 0), (1, 0), 1


def test_head_killed_while_it_attaches(world: World) -> None:
    world.create("halfway")
    world.cluster.signal("head-1", signal.SIGSTOP)
    attaching = world.background.submit(world.attach, "halfway")
    world.wait(lambda: world.state("halfway")[1] == BINDING, "the attach is under way")

    world.cluster.kill("head-1")
    world.cluster.launch("head-1")

    with suppress(Fault):
        attaching.result(60)
    if world.settle("halfway") != BOUND:
        world.wait(world.up, "the head is back")
        world.detach("halfway")
        world.attach("halfway")
    assert world.verify("halfway", world.fill("halfway"))


def test_head_agent_restarts_under_an_attached_volume(world: World) -> None:
    world.create("steady")
    world.attach("steady")
    ledger = world.fill("steady")

    with world.open("steady") as device:
        world.cluster.signal("head-1", signal.SIGKILL)
        assert ledger.verify(device) == []
        world.cluster.launch("head-1")
        world.wait(world.up, "the head is up")
        assert ledger.verify(device) == []
    assert world.settle("steady") == BOUND


def test_storage_server_killed_while_it_shreds(world: World) -> None:
    world.create("doomed")
    world.attach("doomed")
    world.fill("doomed", blocks=120)
    victim = observe.holder(world.call, world.place, "doomed")
    world.detach("doomed")
    world.delete("doomed")
    world.wait(lambda: _shreds(world) > 0, "a shred is under way", 10)

    world.cluster.kill(victim)
    world.cluster.launch(victim)

    world.wait(world.zeroed, "all space is certified zero again")


def test_a_disk_that_vanishes_is_replaced(world: World) -> None:
    world.create("diskless")
    world.attach("diskless")
    ledger = world.fill("diskless")
    victim = world.place.node(observe.holder(world.call, world.place, "diskless"))
    lost = _disk_of(world, "diskless", list(victim.addresses))

    path = next(
        p for p in node_processes.disks(world.place, victim) if str(p) == lost["local_path"]
    )
    away = path.rename(path.with_suffix(".away"))

    world.wait(lambda: lost["pdskid"] not in _good_disks(world), "the loss was noticed")
    world.wait(lambda: world.healed("diskless"), "three good replicas again")
    assert world.verify("diskless", ledger)
    world.call("deletePhysicalDisk", pdskid=lost["pdskid"])
    away.rename(path)
    world.cluster.kill(victim.name)
    world.cluster.launch(victim.name)
    world.wait(world.up, "the disk is there again, as a new one")


def test_detach_of_an_open_volume_is_busy_and_it_stays_attached(world: World) -> None:
    world.create("opened")
    world.attach("opened")

    with world.open("opened") as device:
        with pytest.raises(Fault) as refusal:
            world.detach("opened")
        assert refusal.value.faultCode == EBUSY
        assert world.state("opened") == BOUND
        device.write(0, b"x" * 4096)

    world.detach("opened")
    assert world.state("opened") == UNBOUND


def test_delete_while_a_replica_is_being_rebuilt(world: World) -> None:
    world.create("hopeless", capacity=12)
    world.attach("hopeless")
    world.fill("hopeless", blocks=120)
    world.cluster.kill(observe.holder(world.call, world.place, "hopeless"))
    world.wait(lambda: _rebuilds(world) > 0, "a rebuild is under way")

    world.detach("hopeless")
    world.delete("hopeless")

    assert world.call("listLogicalVolumes") == []


def test_the_last_order_repeated_changes_nothing(world: World) -> None:
    lvolid = world.create("repeated")
    world.attach("repeated")
    ledger = world.fill("repeated")

    refusals = 0
    for _ in range(5):
        with pytest.raises(Fault) as refusal:
            world.call("attachLogicalVolume", lvolid=lvolid, hsvrid=world.head())
        refusals += refusal.value.faultCode == EBUSY
    assert refusals == 5
    assert world.verify("repeated", ledger)

    for _ in range(5):
        world.detach("repeated")
    assert world.state("repeated") == UNBOUND


def _shreds(world: World) -> int:
    return sum(job["kind"] == "shred" for job in world.call("vastsky.listJobs"))


def _rebuilds(world: World) -> int:
    return sum(job["kind"] == "rebuild" for job in world.call("vastsky.listJobs"))


def _good_disks(world: World) -> set[int]:
    disks = world.call("listPhysicalDisks")
    return {disk["pdskid"] for disk in disks if disk["priority"] == observe.HIGH}


def _disk_of(world: World, name: str, addresses: list[str]) -> dict[str, object]:
    """Tell the disk of a server that holds a replica of the volume."""
    servers = world.call("listStorageServers")
    (ssvrid,) = [server["ssvrid"] for server in servers if server["ip_data"] == addresses]
    replicas = observe.replicas(world.call, name)
    (pdskid,) = {c["lvolspec"]["pdskid"] for c in replicas if c["lvolspec"]["ssvrid"] == ssvrid}
    disks: list[dict[str, object]] = world.call("listPhysicalDisks", ssvrid=ssvrid)
    return next(disk for disk in disks if disk["pdskid"] == pdskid)
