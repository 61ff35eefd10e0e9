"""Nodes move to other addresses, or others come to theirs: orders reach whom they are meant for."""

import itertools

import pytest
from django.test import Client

from inventory.models import Address, Disk, HeadServer, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status
_places = itertools.count(1)


@pytest.fixture
def named(four: Cluster) -> Cluster:
    """Four storage servers and a head whose agents say who they are."""
    nodes: list[Head | Storage] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.node_uuid = f"node-{node.address}"
        register(four, node, "one")
        if isinstance(node, Storage):
            register_disks(four, node)
    four.reconcile()
    return four


@pytest.fixture
def used(named: Cluster) -> LogicalVolume:
    """A volume that is attached to the head, with every server but one."""
    (head,) = named.world.heads.values()
    volume = named.create()
    named.attach(volume, head)
    return volume


def register(four: Cluster, node: Head | Storage, boot: str, *also: str) -> int:
    kind = "Head" if isinstance(node, Head) else "Storage"
    about = {"node_uuid": node.node_uuid, "boot_id": boot}
    return int(four.call(f"register{kind}Server", ip_data=[node.address, *also], **about))


def register_disks(four: Cluster, node: Storage) -> None:
    for disk in Disk.objects.filter(server=node.server_id, priority__gt=3):
        about = {"local_path": disk.local_path, "capacity": str(disk.capacity_gb << 21)}
        four.call("registerPhysicalDisk", ssvrid=node.server_id, **about)


def elsewhere() -> str:
    return f"127.23.{next(_places)}.1"


def move(four: Cluster, node: Head | Storage, boot: str) -> None:
    """Start a node at another address; where it was it is missed first."""
    node.move(elsewhere())
    four.reconcile()
    assert register(four, node, boot) == node.server_id
    if isinstance(node, Storage):
        register_disks(four, node)
    four.reconcile()


def test_a_head_that_moves_keeps_what_is_attached_to_it(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()

    move(named, head, "one")

    assert named.state(used) == "bound"
    assert used.pk in head.groups
    named.detach(used)
    assert head.told("detach")
    assert not head.groups


def test_a_head_that_was_started_anew_elsewhere_has_its_volumes_fenced_off(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()
    head.groups.clear()

    move(named, head, "two")
    named.work(3)

    assert named.state(used) == "detached"
    named.attach(used, head)
    assert named.state(used) == "bound"


def test_a_replica_is_found_again_where_its_server_is_now(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()
    lost = named.replicas(used)[0]
    node = named.node_of(lost)
    head.lose(lost.pk)

    move(named, node, "two")
    named.work(3)

    (order,) = head.told("rebuild")
    assert order.replica.dextid == lost.pk
    assert order.replica.addresses == (node.address,)
    assert lost.pk in node.exports


def test_last_replicas_are_found_again_when_all_servers_move_at_once(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()
    nodes = list(named.world.storages.values())
    for replica in named.replicas(used):
        head.cut_off(replica.pk)
    head.groups[used.pk].waiting = 5
    for node in nodes:
        node.move(elsewhere())
        node.exports.clear()
    named.reconcile()
    for node in nodes:
        assert register(named, node, "two") == node.server_id
        register_disks(named, node)

    named.reconcile()
    named.work(4)

    order = head.told("rebuild")[0]
    assert order.replica.addresses[0] in {node.address for node in nodes}


def test_a_group_that_is_dead_is_told_where_its_replicas_are_now(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()
    named.reconcile()
    assert head.told("relocate") == []
    node = named.node_of(named.replicas(used)[0])
    head.groups[used.pk].alive = False

    move(named, node, "two")

    order = head.told("relocate")[-1]
    where = {replica.dextid: replica.addresses for replica in order.replicas}
    nodes = {r.pk: named.node_of(r) for r in named.replicas(used)}
    assert where == {dextid: (node.address,) for dextid, node in nodes.items()}
    assert order.epoch == LogicalVolume.objects.get().epoch


def test_no_order_reaches_another_node_at_the_address_of_its_server(
    named: Cluster, used: LogicalVolume
) -> None:
    named.detach(used)
    node = named.node_of(named.replicas(used)[0])
    other = Storage(named.world, node.address, node.port, node_uuid="another")
    node.die()
    other.start()

    named.reconcile()
    named.attach(used, next(iter(named.world.heads.values())))
    other.die()

    assert other.log == []
    said = Address.objects.get(storage=node.server_id).silence
    assert "another node answers there: this is node another" in said
    assert StorageServer.objects.get(pk=node.server_id).silent_since


def test_an_older_node_that_knows_no_number_is_not_taken_for_the_server_at_its_address(
    named: Cluster,
) -> None:
    (head,) = named.world.heads.values()
    other = Head(named.world, head.address, head.port)
    head.die()
    other.start()

    named.reconcile()
    other.die()

    assert HeadServer.objects.get().silent_since


def test_a_server_whose_address_another_node_has_is_left_out_and_shown(
    named: Cluster, used: LogicalVolume, admin_client: Client
) -> None:
    node = named.node_of(named.replicas(used)[0])
    node.die()
    named.reconcile()
    other = Storage(named.world, node.address, node.port, node_uuid="another")
    other.start()

    other.server_id = register(named, other, "one")
    named.reconcile()

    assert other.server_id != node.server_id
    assert not Address.objects.filter(storage=node.server_id).exists()
    named.detach(used)
    named.attach(used, next(iter(named.world.heads.values())))
    assert named.state(used) == "bound"
    for page in ("", f"inventory/storageserver/{node.server_id}/change/"):
        assert admin_client.get(f"/admin/{page}", follow=True).status_code == 200
    assert len(named.call("listStorageServers")) == 5
    other.die()


def test_a_restart_that_nobody_noticed_fences_what_its_head_ran(
    named: Cluster, used: LogicalVolume
) -> None:
    (head,) = named.world.heads.values()
    head.groups.clear()

    assert register(named, head, "two") == head.server_id

    assert named.job(Job.Kind.FENCE).volume_id == used.pk
    assert HeadServer.objects.get().boot_id == "two"
    named.work(3)
    assert named.state(used) == "detached"
