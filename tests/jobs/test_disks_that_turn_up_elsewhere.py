"""Disks that are pulled out, put into another server, or are there twice."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents.protocol import Reason, RefusedDisk
from inventory import recovery, servers
from inventory.models import Disk, Priority, StorageServer
from inventory.models import RefusedDisk as RefusedRow
from tests.contract.api import put_down
from tests.jobs.conftest import Cluster
from tests.jobs.disk_shelf import Shelf
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.reports import problems

EBUSY, EEXIST = 16, 17
Status = Replica.Status


@pytest.fixture
def head(cluster: Cluster, disks: Shelf) -> Head:
    return next(iter(cluster.world.heads.values()))


@pytest.fixture
def volume(cluster: Cluster, disks: Shelf) -> LogicalVolume:
    return cluster.create(redundancy=2)


def disks_are_long_what_they_are() -> None:
    Disk.objects.update(priority_since=timezone.now() - timedelta(minutes=1))


def titles() -> list[str]:
    return [f"{problem.title}: {problem.cause}" for problem in problems.find()]


def test_a_disk_that_is_gone_waits_for_its_return_rather_than_being_failed(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head
) -> None:
    cluster.attach(volume, head)
    one, _ = cluster.replicas(volume)
    disk = cluster.disk_of(one)

    cluster.call("notifyFailure", target=3, targetid=disk.pk, reason="gone")

    disk.refresh_from_db()
    one.refresh_from_db()
    assert disk.priority == Priority.OFFLINE
    assert (one.status, one.reason) == (Status.FAULTY, Reason.SILENT)
    assert any("put it in again, there or in another server" in title for title in titles())


def test_a_disk_that_its_server_tells_nothing_of_is_gone(cluster: Cluster, disks: Shelf) -> None:
    node = disks.server_of("disk-1")
    disks_are_long_what_they_are()

    disks.pull_out("disk-1", node)
    cluster.reconcile()

    rows = dict(Disk.objects.values_list("disk_uuid", "priority"))
    assert rows == {
        "disk-1": Priority.OFFLINE,
        "disk-2": Priority.HIGH,
        "disk-3": Priority.HIGH,
    }


def test_news_from_before_it_registered_does_not_cost_a_disk(
    cluster: Cluster, disks: Shelf
) -> None:
    for name, gone in (("disk-1", False), ("disk-2", True)):
        node = disks.server_of(name)
        told = [replace(disk, error="is another disk", gone=True) for disk in node.disks]
        node.disks = told if gone else []

    cluster.reconcile()

    assert set(Disk.objects.values_list("priority", flat=True)) == {Priority.HIGH}


def test_a_disk_that_is_back_before_it_was_missed_is_in_service_again(
    cluster: Cluster, disks: Shelf
) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    cluster.call("notifyFailure", target=3, targetid=row.pk, reason="gone")
    cluster.reconcile()
    row.refresh_from_db()
    assert row.priority == Priority.OFFLINE

    disks_are_long_what_they_are()
    cluster.reconcile()

    row.refresh_from_db()
    assert row.priority == Priority.HIGH


@pytest.mark.parametrize("gone", [False, True])
def test_a_disk_that_fails_and_is_there_is_failed(
    cluster: Cluster, disks: Shelf, *, gone: bool
) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    node = cluster.world.storages[row.server_id]
    node.disks = [replace(disk, error="Input/output error", gone=gone) for disk in node.disks]
    disks_are_long_what_they_are()

    cluster.reconcile()

    row.refresh_from_db()
    assert row.priority == (Priority.OFFLINE if gone else Priority.FAULTY)


def test_replicas_are_caught_up_on_the_server_into_which_their_disk_was_put(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head
) -> None:
    cluster.attach(volume, head)
    one, _ = cluster.replicas(volume)
    name, old, new = disks.of(one), cluster.node_of(one), disks.empty_server()
    cluster.call("notifyFailure", target=3, targetid=cluster.disk_of(one).pk, reason="gone")
    disks.pull_out(name, old)

    disks.put_in(name, new, "/dev/another-slot")
    cluster.work()

    one.refresh_from_db()
    assert one.server_id == new.server_id
    (order,) = head.told("rebuild")
    assert order.replica.dextid == one.pk
    assert order.replica.addresses[0] == new.address
    assert new.exports[one.pk] == (volume.pk, 1)
    head.finish(order)
    cluster.work(2)
    assert [r.status for r in cluster.replicas(volume)] == [Status.INSYNC, Status.INSYNC]


def test_a_volume_is_attached_from_the_disk_that_has_its_last_good_replica(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head
) -> None:
    cluster.attach(volume, head)
    one, other = cluster.replicas(volume)
    name, old, new = disks.of(one), cluster.node_of(one), disks.empty_server()
    cluster.silence(cluster.node_of(other), 3600)
    cluster.reconcile()
    cluster.detach(volume)
    cluster.silence(old, 3600)
    cluster.reconcile()

    disks.put_in(name, new)
    cluster.attach(volume, head)

    assert cluster.state(volume) == Attachment.State.BOUND
    assert new.exports[one.pk][0] == volume.pk


@pytest.mark.parametrize("clients", [0, 1])
def test_what_the_former_server_still_exports_is_taken_down_unless_a_head_has_it_open(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head, clients: int
) -> None:
    cluster.attach(volume, head)
    one, _ = cluster.replicas(volume)
    name, old, new = disks.of(one), cluster.node_of(one), disks.empty_server()
    put_down(Disk, cluster.disk_of(one).pk, Priority.OFFLINE)
    disks.pull_out(name, old)
    old.clients = clients

    disks.put_in(name, new)
    cluster.reconcile()

    assert (one.pk in old.exports) == bool(clients)


def test_a_disk_is_not_put_beside_another_replica_of_its_mirror(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume
) -> None:
    one, other = cluster.replicas(volume)
    name = disks.of(one)
    put_down(Disk, cluster.disk_of(one).pk, Priority.OFFLINE)

    assert disks.refused(name, cluster.node_of(other)) == EBUSY
    cluster.reconcile()

    assert any("into a third server" in title for title in titles())


def test_a_new_path_of_a_disk_in_use_is_noticed(cluster: Cluster, disks: Shelf) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    disks.shows(cluster.world.storages[row.server_id], "disk-1", "/dev/another-slot", row.pk)

    cluster.reconcile()

    row.refresh_from_db()
    assert row.local_path == "/dev/another-slot"


# -- refused disks --------------------------------------------------------------------------------


def test_a_refused_disk_is_shown_with_its_reason_until_it_is_gone(
    cluster: Cluster, disks: Shelf, admin_client: Client
) -> None:
    node = disks.empty_server()
    node.refused = [RefusedDisk("/dev/sdz", "it holds an xfs file system")]
    cluster.reconcile()
    cluster.reconcile()

    page = admin_client.get("/admin/console/problems/").content.decode()
    assert "/dev/sdz" in page
    assert "it holds an xfs file system" in page
    assert problems.is_anything_wrong()

    node.refused = []
    cluster.reconcile()
    assert not RefusedRow.objects.exists()
    assert not problems.is_anything_wrong()


@pytest.fixture
def second(cluster: Cluster, disks: Shelf) -> Storage:
    """A server with a copy of disk-1, which is in use elsewhere."""
    node = disks.empty_server()
    assert disks.refused("disk-1", node) == EBUSY
    return node


def first_server_goes_away() -> None:
    server = Disk.objects.get(disk_uuid="disk-1").server_id
    put_down(StorageServer, server, Priority.OFFLINE)
    Disk.objects.filter(server=server).update(priority=Priority.OFFLINE)


def some_time_passes() -> None:
    RefusedRow.objects.update(since=timezone.now() - timedelta(minutes=1))


def test_a_copy_does_not_take_the_place_of_a_disk_whose_server_goes_away(
    cluster: Cluster, disks: Shelf, second: Storage
) -> None:
    cluster.reconcile()
    some_time_passes()
    cluster.reconcile()
    first_server_goes_away()

    assert disks.refused("disk-1", second) == EBUSY
    assert "is a copy" in second.refused[0].reason


def test_once_it_was_taken_out_it_may_replace_the_other(
    cluster: Cluster, disks: Shelf, second: Storage
) -> None:
    cluster.reconcile()
    some_time_passes()
    cluster.reconcile()
    first_server_goes_away()
    second.refused = []
    cluster.reconcile()

    disks.put_in("disk-1", second)

    assert Disk.objects.get(disk_uuid="disk-1").server_id == second.server_id


def test_a_disk_that_is_told_here_before_it_is_missed_there_is_no_copy(
    cluster: Cluster, disks: Shelf, second: Storage
) -> None:
    first = Disk.objects.get(disk_uuid="disk-1")
    cluster.reconcile()
    disks.pull_out("disk-1", cluster.world.storages[first.server_id])
    disks_are_long_what_they_are()
    some_time_passes()
    cluster.reconcile()

    disks.put_in("disk-1", second)

    first.refresh_from_db()
    assert (first.server_id, first.priority) == (second.server_id, Priority.HIGH)


def test_a_database_that_has_to_be_recovered_refuses_no_disk_for_good(
    cluster: Cluster, disks: Shelf
) -> None:
    servers.cluster()
    recovery.enter("a restore")

    assert disks.refused("disk-1", disks.empty_server()) == 11


def test_a_failed_disk_is_refused_with_what_to_do(cluster: Cluster, disks: Shelf) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    put_down(Disk, row.pk, Priority.FAULTY)
    node = cluster.world.storages[row.server_id]

    assert disks.refused("disk-1", node) == EEXIST
    assert "delete it, and it is taken in as a new disk" in node.refused[0].reason
