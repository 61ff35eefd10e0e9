"""The main job through /RPC2, with bytes over NBD."""

from deploy.local import observe
from deploy.local.ledger import BLOCK
from tests.cluster.world import World

UNBOUND, BOUND = (0, 0), (1, 0)


def test_a_volume_keeps_its_bytes_over_detach_and_attach(world: World) -> None:
    world.create("plain", capacity=12)
    world.attach("plain")
    ledger = world.fill("plain")

    world.detach("plain")
    assert world.state("plain") == UNBOUND
    assert not (world.place.links / "plain").is_symlink()
    world.attach("plain")

    assert world.state("plain") == BOUND
    with world.open("plain") as device:
        assert device.size == 12 << 30
        assert ledger.verify(device) == []


def test_both_labels_of_a_volume_open_the_same_device(world: World) -> None:
    lvolid = world.create("labelled")
    world.attach("labelled")

    with world.open("labelled") as device:
        device.write(BLOCK, b"v" * BLOCK)

    with world.open(f"lvol-{lvolid:08x}") as device:
        assert device.read(BLOCK, BLOCK) == b"v" * BLOCK


def test_no_acknowledged_byte_is_lost_when_a_storage_server_is_killed(world: World) -> None:
    world.create("survivor", capacity=12)
    world.attach("survivor")
    ledger = world.fill("survivor")
    victim = observe.holder(world.call, world.place, "survivor")

    with world.open("survivor") as device:
        assert world.cluster.kill(victim) > 1
        for n in range(32):
            ledger.write(device, (7 + 100 * n) * BLOCK)
        world.wait(lambda: world.healed("survivor"), "three good replicas of every mirror again")
        assert ledger.verify(device) == []

    world.detach("survivor")
    world.attach("survivor")
    assert world.verify("survivor", ledger)


def test_a_server_that_comes_back_in_time_catches_up(world: World) -> None:
    world.create("brief")
    world.attach("brief")
    victim = observe.holder(world.call, world.place, "brief")
    world.cluster.kill(victim)
    ledger = world.fill("brief")

    world.cluster.launch(victim)

    world.wait(lambda: world.healed("brief"), "three good replicas again")
    assert world.verify("brief", ledger)


def test_a_snapshot_stays_what_it_was(world: World) -> None:
    world.create("origin")
    world.attach("origin")
    old = world.fill("origin")

    world.call("createSnapshot", origin_lvolname="origin", snapshot_lvolname="frozen")
    new = world.fill("origin")

    with world.open("frozen") as device:
        assert device.read_only
        assert old.verify(device) == []
    world.detach("origin")
    world.attach("origin")
    assert world.verify("frozen", old)
    assert world.verify("origin", new)


def test_a_new_volume_reads_zero_where_a_deleted_one_was(world: World) -> None:
    world.create("secret")
    world.attach("secret")
    ledger = world.fill("secret")
    world.detach("secret")
    world.delete("secret")
    world.wait(world.zeroed, "the space is free again")

    world.create("heir")
    world.attach("heir")

    with world.open("heir") as device:
        assert not any(any(device.read(offset, BLOCK)) for offset in ledger.digests)
