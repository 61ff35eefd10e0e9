"""What was taken up in a recovery is like what was never lost."""

from dataclasses import replace
from pathlib import Path

from django.core.management import call_command

from inventory import recovery
from inventory.models import Extent, IdGap
from tests.contract.api import add_disk
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import add_stray, places_of, recover, restore, settle, used, write_dump
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_node import Node
from volumes.models import AbsentNode, LogicalVolume, Replica


def test_what_was_taken_up_and_deleted_since_is_over(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    restore(four, dump)
    recover("--apply")
    replicas = four.replicas(volume)
    for node in four.world.storages.values():
        node.hold_shreds = True

    four.detach(volume)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    four.node_of(replicas[0]).exports[replicas[0].pk] = (volume.pk, volume.epoch)

    call_command("fsck", "--nodes")
    settle(four)
    assert not four.call("vastsky.listOrphans")
    assert not four.node_of(replicas[0]).exports


def test_numbers_that_were_not_taken_up_stay_unknown(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data", redundancy=2)
    taken = {volume.pk, four.mirror(volume).pk, *(r.pk for r in four.replicas(volume))}
    restore(four, dump)

    recover("--apply")

    gaps = recovery.gaps("volume")
    assert not any(number in gap for gap in gaps for number in taken)
    between = set(range(min(taken), max(taken))) - taken
    assert between
    assert all(any(number in gap for gap in gaps) for number in between)
    assert not any(gap.first >= gap.beyond for gap in IdGap.objects.all())


# -- nodes that a recovery went without -----------------------------------------------------------


def _recovered_without(four: Cluster, dump: Path, *nodes: Node) -> None:
    restore(four, dump)
    words = ["--apply"]
    for node in nodes:
        node.die()
        kind = "hsvr" if isinstance(node, Head) else "ssvr"
        words += ["--without", f"{kind}-{node.server_id:08x}"]
    recover(*words)
    assert AbsentNode.objects.count() == len(nodes)


def _answer_again(four: Cluster, *nodes: Node) -> None:
    for node in nodes:
        node.start()
    four.reconcile()
    four.reconcile()


def test_a_node_that_comes_back_and_knows_no_more_is_as_before(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data", redundancy=4)
    four.detach(volume)
    write_dump(dump)
    node = four.node_of(four.replicas(volume)[0])
    _recovered_without(four, dump, node)

    _answer_again(four, node)

    assert not recovery.why()
    assert not AbsentNode.objects.exists()
    settle(four)
    assert not Extent.objects.filter(status=Extent.Status.OFFLINE).exists()
    call_command("fsck", "--nodes")


def test_a_node_that_comes_back_and_knows_more_begins_recovery_mode(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    volume = used(four, head, "only-there", redundancy=2)
    four.detach(volume)
    nodes = [four.node_of(replica) for replica in four.replicas(volume)]
    _recovered_without(four, dump, *nodes)
    assert not LogicalVolume.objects.exists()

    _answer_again(four, *nodes)

    assert f"only-there (lvol-{volume.pk:08x}) is on disks and not here" in recovery.why()
    recover("--apply")
    settle(four)
    four.attach(volume, head)
    call_command("fsck", "--nodes")


def test_a_replica_that_comes_back_and_was_replaced_is_zeroed(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    replica = four.replicas(volume)[0]
    node = four.node_of(replica)
    _recovered_without(four, dump, node)
    settle(four)
    for order in head.told("rebuild"):
        head.finish(order)
    four.work(2)
    assert len(four.replicas(volume, Replica.Status.INSYNC)) == 3

    _answer_again(four, node)

    assert f"dext-{replica.pk:08x}" in recovery.why()
    assert f"replaced: dext-{replica.pk:08x}" in recover("--apply")
    settle(four)
    assert replica.pk not in node.held[four.disk_at(node).local_path]
    assert not any(replica.pk in gap for gap in recovery.gaps("volume"))
    call_command("fsck", "--nodes")


def test_a_volume_deleted_while_a_node_was_away_does_not_come_back_with_it(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    replica = four.replicas(volume)[0]
    node = four.node_of(replica)
    _recovered_without(four, dump, node)
    four.detach(volume)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    settle(four)

    _answer_again(four, node)

    assert not recovery.why()
    settle(four)
    assert not LogicalVolume.objects.exists()
    assert replica.pk not in node.held[four.disk_at(node).local_path]
    call_command("fsck", "--nodes")


def test_a_head_that_comes_back_has_its_volume(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    _recovered_without(four, dump, head)
    assert four.state(volume) == "detached"

    _answer_again(four, head)

    assert f"hsvr-{head.server_id:08x} runs {volume.name_and_id}" in recovery.why()
    recover("--apply")
    settle(four)
    assert four.state(volume) == "bound"
    assert set(head.groups) == {volume.pk}
    call_command("fsck", "--nodes")


def test_what_was_in_quarantine_is_taken_up_once_the_rest_of_it_is_found(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    stray = add_stray(four)
    restore(four, dump)
    recover("--apply")
    assert four.call("vastsky.listOrphans")

    first = replace(stray, at_gb=50, mark=replace(stray.mark, dextid=8001), mirrorid=8002)
    four.world.storages[1].held[four.disk_at(four.world.storages[1]).local_path][8001] = replace(
        first, offset_gb=0
    )
    recover("--apply")

    assert not four.call("vastsky.listOrphans")
    half = LogicalVolume.objects.get(name="half")
    assert [replica.pk for replica in four.replicas(half)] == [8001, 9001]


def test_a_node_that_joined_after_the_dump_and_registers_again_keeps_what_it_holds(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    volume = used(four, head, "old-nodes", redundancy=2)
    joined = four.add_storage()
    wide = used(four, head, "all-nodes", redundancy=5)
    places = [places_of(four, volume), [place for place, _ in places_of(four, wide)]]
    restore(four, dump)
    joined.server_id = four.call("registerStorageServer", ip_data=[joined.address])
    (disk,) = joined.disks
    add_disk(four.call, joined.server_id, disk.local_path, disk.capacity_gb)

    recover("--apply")

    assert [places_of(four, volume), [p for p, _ in places_of(four, wide)]] == places
    settle(four)
    call_command("fsck", "--nodes")
