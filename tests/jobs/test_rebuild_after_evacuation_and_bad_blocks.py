"""Replicas leave disks that are evacuated, fail or have bad blocks, within the limits."""

from django.core.management import call_command
from pytest_django import Settings

from inventory.models import Disk, Extent, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


def test_an_evacuated_disk_serves_until_its_replicas_are_elsewhere(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    leaving = four.replicas(volume)[0]
    Disk.objects.filter(pk=four.disk_of(leaving).pk).update(priority=3)

    four.reconcile()
    four.work()
    assert len(four.replicas(volume, Status.INSYNC)) == 3
    (order,) = head.told("rebuild")
    assert order.replaces == leaving.pk
    head.finish(order)
    four.work()

    assert leaving.pk not in {replica.pk for replica in four.replicas(volume)}
    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}


def test_a_bad_block_moves_the_replica_and_never_comes_back(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    replica = four.replicas(volume)[0]
    disk = four.disk_of(replica)
    offset = Extent.objects.get(pk=replica.pk).offset_gb

    four.call("notifyBadBlocks", pdskid=disk.pk, blocks=[offset])
    four.work()
    head.finish(head.told("rebuild")[0])
    four.work()

    assert Extent.objects.get(pk=replica.pk).status == Extent.Status.FAULTY
    disk.refresh_from_db()
    assert disk.get_priority_display() == "Low"


def test_a_failed_disk_is_faulty_and_its_replicas_are_replaced(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    disk = four.disk_of(four.replicas(volume)[0])

    for _ in range(2):
        four.call("notifyFailure", target=3, targetid=disk.pk)
    four.work()

    disk.refresh_from_db()
    assert disk.get_priority_display() == "Faulty"
    assert len(head.told("rebuild")) == 1


def test_rebuilds_honour_the_limit_and_the_neediest_goes_first(
    four: Cluster, head: Head, settings: Settings
) -> None:
    settings.VASTSKY_REBUILDS_TOTAL = 1
    rich, poor = four.create("rich"), four.create("poor", redundancy=2)
    for volume in (rich, poor):
        four.attach(volume, head)
    shared = {replica.server_id for replica in four.replicas(rich)} & {
        replica.server_id for replica in four.replicas(poor)
    }

    four.call("notifyFailure", target=2, targetid=shared.pop())
    four.work(3)

    (order,) = head.told("rebuild")
    assert order.lvolid == poor.pk


def test_delete_while_rebuilding_ends_the_rebuild(four: Cluster, idle: LogicalVolume) -> None:
    four.call("notifyFailure", target=2, targetid=four.replicas(idle)[0].server_id)
    four.work()

    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.work()

    assert four.job(Job.Kind.REBUILD).state == "canceled"
    assert not Replica.objects.exists()
    call_command("fsck")


def test_a_storage_server_with_many_replicas_fails_in_a_constant_number_of_queries(
    four: Cluster, django_assert_max_num_queries: object
) -> None:
    for number in range(12):
        four.create(f"v{number}", gb=1)
    server = next(iter(four.world.storages))

    with django_assert_max_num_queries(60):  # type: ignore[operator]
        four.call("notifyFailure", target=2, targetid=server)


def test_a_disk_that_did_not_come_back_with_its_server_is_replaced_after_the_grace(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    node = four.node_of(lost)
    four.silence(node, 30)
    four.reconcile()
    node.start()
    four.call("registerStorageServer", ip_data=[node.address])
    Disk.objects.filter(server=lost.server_id).update(priority_since="2020-01-01T00:00Z")
    four.reconcile()

    four.work()

    (order,) = head.told("rebuild")
    assert order.replaces == lost.pk


def test_a_replica_left_behind_on_bad_blocks_is_replaced(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    head.lose(lost.pk, "connection")
    four.call("notifyFailure", target=4, targetid=lost.pk, reason="connection")
    extent = Extent.objects.get(pk=lost.pk)
    four.call("notifyBadBlocks", pdskid=extent.disk_id, blocks=[extent.offset_gb])
    four.reconcile()

    four.work()

    (order,) = head.told("rebuild")
    assert (order.replica.dextid != lost.pk, order.replaces) == (True, lost.pk)


def test_with_no_room_a_replica_on_bad_blocks_waits_and_is_not_built_there_again(
    cluster: Cluster,
) -> None:
    for _ in range(2):
        cluster.add_storage()
    head = cluster.add_head()
    volume = cluster.create(redundancy=2, gb=95)
    cluster.attach(volume, head)
    lost = cluster.replicas(volume)[0]
    head.lose(lost.pk, "io")
    cluster.call("notifyFailure", target=4, targetid=lost.pk, reason="io")
    extent = Extent.objects.get(pk=lost.pk)
    cluster.call("notifyBadBlocks", pdskid=extent.disk_id, blocks=[extent.offset_gb])

    cluster.work()

    assert "no room" in cluster.job(Job.Kind.REBUILD).waiting
    assert not head.told("rebuild")


def test_a_volume_never_attached_leaves_an_evacuated_server_at_once(four: Cluster) -> None:
    volume = four.create()
    leaving = four.replicas(volume)[0]
    StorageServer.objects.filter(pk=leaving.server_id).update(priority=3)

    four.reconcile()
    four.work(2)

    assert leaving.pk not in {replica.pk for replica in four.replicas(volume)}
    assert [replica.status for replica in four.replicas(volume)] == [Status.ALLOCATED] * 3
    assert four.free_gb() == 4 * 99 - 3 * 5
