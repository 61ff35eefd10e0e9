"""An empty database takes up what the nodes know."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inventory import recovery, servers
from inventory.models import Extent
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import lose_everything, places_of, recover, settle, used, write_dump
from tests.jobs.simulated_head import Head
from volumes.models import LogicalVolume


@pytest.fixture
def empty(db: None, dump: Path) -> Path:
    """A backup of a database that knew nothing yet."""
    write_dump(dump)
    return dump


def test_an_empty_database_is_filled_from_its_nodes(empty: Path, four: Cluster, head: Head) -> None:
    running = used(four, head, "running")
    idle = used(four, head, "idle", redundancy=2)
    four.detach(idle)
    cluster = servers.cluster()
    before = {v["lvolid"]: v for v in four.call("listLogicalVolumes")}
    disks = four.call("listPhysicalDisks")
    places = {v.pk: places_of(four, v) for v in LogicalVolume.objects.all()}
    where = lose_everything(four, empty)
    assert not four.call("listPhysicalDisks")

    shown = recover("--from-nodes", *where)
    assert shown.count("learned: ") == 5
    recover("--apply")

    assert {v["lvolid"]: v for v in four.call("listLogicalVolumes")} == before
    assert {v.pk: places_of(four, v) for v in LogicalVolume.objects.all()} == places
    assert [d["pdskid"] for d in four.call("listPhysicalDisks")] == [d["pdskid"] for d in disks]
    assert servers.cluster().uuid == cluster.uuid
    assert servers.cluster().incarnation > cluster.incarnation
    settle(four)
    assert four.state(running) == "bound"
    four.attach(idle, head)
    assert four.create("fresh").pk > max(before)
    call_command("fsck")


def test_one_node_is_enough_for_the_others_to_register_by_themselves(
    empty: Path, four: Cluster, head: Head
) -> None:
    running = used(four, head, "running")
    before = {v["lvolid"]: v for v in four.call("listLogicalVolumes")}
    disks = four.call("listPhysicalDisks")
    places = places_of(four, running)
    for node in (*four.world.storages.values(), head):
        node.node_uuid = f"node-{node.address}"
    first, *others = lose_everything(four, empty)
    recover("--from-nodes", first)
    for node in four.world.storages.values():
        if node.address in others:
            about = {"node_uuid": node.node_uuid, "ssvrid": node.server_id, "boot_id": "boot"}
            four.call("registerStorageServer", ip_data=[node.address], **about)
    about = {"node_uuid": head.node_uuid, "hsvrid": head.server_id, "boot_id": "boot"}
    four.call("registerHeadServer", ip_data=[head.address], **about)

    shown = recover("--from-nodes")
    recover("--apply")

    assert shown.count("learned: ") == 3
    assert {v["lvolid"]: v for v in four.call("listLogicalVolumes")} == before
    assert places_of(four, running) == places
    assert [d["pdskid"] for d in four.call("listPhysicalDisks")] == [d["pdskid"] for d in disks]
    settle(four)
    assert four.state(running) == "bound"
    call_command("fsck")


def test_nobody_is_met_outside_recovery_mode(four: Cluster) -> None:
    with pytest.raises(CommandError, match="not in recovery mode"):
        recover("--from-nodes")


def test_a_database_that_knows_servers_is_not_filled_from_nodes(four: Cluster) -> None:
    with pytest.raises(CommandError, match="not empty"):
        recover("--from-nodes", "127.0.0.1")


def test_a_disk_that_fails_before_recovery_is_of_the_generation_that_it_told(
    empty: Path, four: Cluster, head: Head
) -> None:
    """Else its server would refuse to zero it, once it is back, for what is older."""
    four.detach(used(four, head, "data"))
    recover("--from-nodes", *lose_everything(four, empty))
    node = four.world.storages[1]
    (there,) = node.disks
    assert there.generation > 0
    node.disks = [replace(there, error="it does not answer")]
    recover("--apply")

    node.disks = [there]
    four.reconcile()

    assert not recovery.why()
    space = Extent.objects.filter(disk=there.pdskid)
    assert set(space.values_list("generation", flat=True)) == {there.generation}


def test_what_new_extents_are_called_never_meets_what_disks_tell(
    empty: Path, four: Cluster, head: Head
) -> None:
    volume = used(four, head, "data")
    before = places_of(four, volume)
    for _ in range(4):
        four.add_storage()

    recover("--from-nodes", *lose_everything(four, empty))
    recover("--apply")

    assert places_of(four, volume) == before
    settle(four)
    call_command("fsck", "--nodes")


def test_the_space_of_a_disk_that_is_met_is_as_new_as_all_that_was_ordered_there(
    empty: Path, four: Cluster, head: Head
) -> None:
    used(four, head, "data")

    recover("--from-nodes", *lose_everything(four, empty))

    told = [disk for server in four.world.storages.values() for disk in server.disks]
    assert any(disk.generation for disk in told)
    for disk in told:
        extents = Extent.objects.filter(disk__disk_uuid=disk.disk)
        assert min(extents.values_list("generation", flat=True)) >= disk.generation
