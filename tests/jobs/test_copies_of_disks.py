"""A copy of a disk takes its place, and is not trusted with what was written meanwhile."""

from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import call_command

from agents.protocol import DiskState, Reason
from inventory.models import Disk, Priority, StorageServer
from tests.contract.api import put_down
from tests.jobs.conftest import Cluster
from tests.jobs.disk_shelf import Shelf
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica
from volumes.recovery import survey

EBUSY, EEXIST, EINVAL = 16, 17, 22
IS_COPY, ORIGINAL_IS_GONE = 1, 2
Status = Replica.Status


@pytest.fixture
def head(cluster: Cluster, disks: Shelf) -> Head:
    return next(iter(cluster.world.heads.values()))


@pytest.fixture
def volume(cluster: Cluster, head: Head) -> LogicalVolume:
    """A volume that is attached."""
    volume = cluster.create(redundancy=2)
    cluster.attach(volume, head)
    return volume


def test_replicas_on_a_copy_are_built_anew_while_the_volume_is_in_use(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume
) -> None:
    one, other = cluster.replicas(volume)
    node, name = cluster.node_of(one), disks.of(one)
    cluster.call("notifyFailure", target=3, targetid=cluster.disk_of(one).pk, reason="gone")

    disks.put_in(name, node, "/dev/larger", IS_COPY)

    one.refresh_from_db()
    assert (one.status, one.reason) == (Status.FAULTY, Reason.DISK)
    assert cluster.disk_of(one).priority == Priority.HIGH
    cluster.work(2)
    new = next(r for r in cluster.replicas(volume) if r.pk not in {one.pk, other.pk})
    assert new.status == Status.SPARE
    assert Job.objects.get(kind=Job.Kind.REBUILD).replaces == one.pk


def test_a_copy_that_replaces_a_disk_in_service_is_not_trusted_either(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume
) -> None:
    one, _ = cluster.replicas(volume)

    disks.put_in(disks.of(one), cluster.node_of(one), "/dev/larger", IS_COPY)

    one.refresh_from_db()
    assert (one.status, one.reason) == (Status.FAULTY, Reason.DISK)


def test_the_last_good_replica_is_kept_on_a_copy(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume
) -> None:
    one, other = cluster.replicas(volume)
    cluster.call("notifyFailure", target=2, targetid=other.server_id)
    cluster.call("notifyFailure", target=3, targetid=cluster.disk_of(one).pk, reason="gone")

    disks.put_in(disks.of(one), cluster.node_of(one), "/dev/larger", IS_COPY)

    one.refresh_from_db()
    assert one.status == Status.INSYNC


def test_what_was_closed_cleanly_is_used_from_a_copy(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head
) -> None:
    cluster.detach(volume)
    one, _ = cluster.replicas(volume)

    disks.put_in(disks.of(one), cluster.node_of(one), "/dev/larger", IS_COPY)
    cluster.attach(volume, head)

    assert [r.status for r in cluster.replicas(volume)] == [Status.INSYNC, Status.INSYNC]


def test_a_copy_from_before_the_volume_was_closed_is_brought_up_to_date(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume, head: Head
) -> None:
    cluster.detach(volume)
    one, other = cluster.replicas(volume)
    mark = cluster.world.mark(one.pk)
    cluster.world.marks[one.pk] = replace(mark, clean=False)

    disks.put_in(disks.of(one), cluster.node_of(one), "/dev/larger", IS_COPY)
    cluster.attach(volume, head)

    states = {r.pk: (r.status, r.reason) for r in cluster.replicas(volume)}
    assert states[other.pk] == (Status.INSYNC, Reason.NONE)
    assert states[one.pk] == (Status.FAULTY, Reason.STALE)


# -- on another server ----------------------------------------------------------------------------


def test_a_copy_does_not_replace_a_disk_that_may_be_in_a_server_that_is_off(
    cluster: Cluster, disks: Shelf
) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    put_down(StorageServer, row.server_id, Priority.OFFLINE)
    put_down(Disk, row.pk, Priority.OFFLINE)
    elsewhere = disks.empty_server()

    assert disks.refused("disk-1", elsewhere, IS_COPY) == EBUSY
    assert "accept_copy" in elsewhere.refused[0].reason

    assert disks.put_in("disk-1", elsewhere, copied=ORIGINAL_IS_GONE) == row.pk


@pytest.mark.parametrize("copied", [0, IS_COPY, ORIGINAL_IS_GONE])
def test_nothing_replaces_a_disk_that_is_in_use_elsewhere(
    cluster: Cluster, disks: Shelf, copied: int
) -> None:
    assert disks.refused("disk-1", disks.empty_server(), copied) == EBUSY


def test_a_copy_replaces_a_disk_that_its_server_says_is_gone(
    cluster: Cluster, disks: Shelf
) -> None:
    pdskid = Disk.objects.get(disk_uuid="disk-1").pk
    cluster.call("notifyFailure", target=3, targetid=pdskid, reason="gone")

    assert disks.put_in("disk-1", disks.empty_server(), copied=IS_COPY) == pdskid


def test_a_copy_replaces_a_disk_that_failed(cluster: Cluster, disks: Shelf) -> None:
    row = Disk.objects.get(disk_uuid="disk-1")
    put_down(Disk, row.pk, Priority.FAULTY)
    node = disks.server_of("disk-1")

    assert disks.refused("disk-1", node) == EEXIST
    assert disks.put_in("disk-1", node, copied=IS_COPY) == row.pk


def test_what_is_no_answer_is_einval(cluster: Cluster, disks: Shelf) -> None:
    assert disks.refused("disk-1", disks.server_of("disk-1"), 3) == EINVAL


# -- after a restore ------------------------------------------------------------------------------


def test_recovery_reads_the_disk_and_not_its_copy(
    cluster: Cluster, disks: Shelf, volume: LogicalVolume
) -> None:
    one, _ = cluster.replicas(volume)
    name, copy = disks.of(one), disks.empty_server()
    disks.shows(copy, name, "/dev/a-copy", cluster.disk_of(one).pk)

    told = [disk for disk in survey.take().disks if disk.name == name]

    assert [disk.server for disk in told] == [one.server_id]
    assert [found.mark.dextid for found in told[0].replicas] == [one.pk]


@pytest.mark.parametrize("first", [1, 2])
def test_an_empty_database_takes_the_disk_that_got_further(cluster: Cluster, first: int) -> None:
    nodes = [cluster.world.new_storage() for _ in range(2)]
    for number, node in enumerate(nodes, start=1):
        node.server_id, node.cluster = number, "5f0f3d2e-8a43-4c3f-9d0e-0d9f3c6f1a55"
        newer = number == first
        node.disks = [DiskState("disk-1", f"/dev/{number}", 7, 100, generation=4 + newer)]

    call_command("recover", "--from-nodes", *[node.address for node in nodes], stdout=StringIO())

    assert Disk.objects.get().server_id == first
