"""Mirrors are made whole again, with simulated nodes."""

import errno
from xmlrpc.client import Fault

import pytest
from pytest_django import Settings

from inventory.models import Extent, StorageServer
from tests.jobs.conftest import Cluster, spare
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica
from volumes.repair import requests

Status = Replica.Status


def test_a_server_said_lost_is_replaced_at_once(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    free = spare(four)
    four.node_of(lost).die()

    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()

    (order,) = head.told("rebuild")
    assert order.replaces == lost.pk
    assert order.replica.dextid == four.replicas(volume, Status.SPARE)[0].pk
    assert four.replicas(volume, Status.SPARE)[0].server_id == free
    head.finish(order)
    four.work()
    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}
    assert len(four.replicas(volume)) == 3


def test_the_old_place_is_shredded_once_its_server_is_back(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    node = four.node_of(lost)
    node.die()
    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()
    assert Extent.objects.get(pk=lost.pk).status == Extent.Status.BUSY
    head.finish(head.told("rebuild")[0])
    four.work()
    assert Extent.objects.get(pk=lost.pk).status == Extent.Status.OFFLINE
    four.reconcile()
    assert not Job.objects.filter(kind="shred").exists()

    four.comes_back(node)
    four.reconcile()
    four.work()

    assert node.shredded == [lost.pk]


def test_a_silent_server_has_its_grace(
    four: Cluster, head: Head, volume: LogicalVolume, settings: Settings
) -> None:
    lost = four.replicas(volume)[0]
    four.silence(four.node_of(lost), 30)

    four.reconcile()
    four.work()

    assert four.replicas(volume, Status.FAULTY) == [lost]
    assert not head.told("rebuild")
    assert "silent" in four.job(Job.Kind.REBUILD).waiting
    StorageServer.objects.filter(pk=lost.server_id).update(silent_since="2020-01-01T00:00Z")
    four.work()
    assert head.told("rebuild")


def test_a_silent_server_that_is_said_lost_has_no_grace_any_more(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    four.silence(four.node_of(lost), 30)
    four.reconcile()
    four.work()
    assert not head.told("rebuild")

    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()

    (order,) = head.told("rebuild")
    assert order.replaces == lost.pk


def test_a_server_that_its_head_lost_and_somebody_says_lost_has_no_grace_any_more(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    four.node_of(lost).die()
    four.call("notifyFailure", target=4, targetid=lost.pk, reason="connection")
    four.work()
    assert not head.told("rebuild")

    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()

    assert [order.replaces for order in head.told("rebuild")] == [lost.pk]


def test_a_mirror_on_its_last_replica_does_not_wait_for_the_grace(
    four: Cluster, head: Head
) -> None:
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    four.silence(four.node_of(four.replicas(volume)[0]), 30)

    four.reconcile()
    four.work()

    assert len(head.told("rebuild")) == 1


def test_a_server_that_comes_back_in_time_is_caught_up(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    node = four.node_of(lost)
    four.silence(node, 30)
    four.reconcile()
    four.work()

    four.comes_back(node)
    four.work()

    (order,) = head.told("rebuild")
    assert order.replica.dextid == lost.pk
    assert order.replaces == 0
    head.finish(order)
    four.work()
    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}


def test_too_many_servers_gone_together_pull_the_brake(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    for replica in four.replicas(volume)[:2]:
        four.silence(four.node_of(replica), 100_000)

    four.reconcile()
    four.work()

    assert not head.told("rebuild")
    assert "vanished together" in four.job(Job.Kind.REBUILD).waiting


def test_the_brake_stands_before_the_second_server_is_found_silent(
    four: Cluster, head: Head
) -> None:
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    lost, *_ = four.replicas(volume)
    other = next(s for s in four.world.storages.values() if s.server_id != lost.server_id)
    four.node_of(lost).die()
    other.die()

    head.lose(lost.pk, "connection")
    four.call("notifyFailure", target=4, targetid=lost.pk, reason="connection")
    four.work(4)
    before_anybody_asked = four.job(Job.Kind.REBUILD).waiting
    four.reconcile()
    four.work(4)

    assert "must answer first" in before_anybody_asked
    assert "vanished together" in four.job(Job.Kind.REBUILD).waiting
    assert four.replicas(volume, Status.FAULTY) == [lost]
    assert len(four.replicas(volume)) == 2
    assert not head.told("rebuild")


@pytest.mark.parametrize("reason", ["io", "disk"])
def test_the_brake_stands_before_every_replacement_but_that_of_what_is_declared_failed(
    four: Cluster, head: Head, volume: LogicalVolume, reason: str
) -> None:
    bad, *others = four.replicas(volume)
    for replica in others:
        four.silence(four.node_of(replica), 1)
    four.reconcile()
    Replica.objects.filter(pk=bad.pk).update(status=Status.FAULTY, reason=reason)
    requests.request([bad.mirror_id])

    four.work(4)
    held = len(four.replicas(volume))
    four.call("notifyFailure", target=2, targetid=others[0].server_id)
    Replica.objects.filter(pk=bad.pk).update(reason="failed")
    four.work(4)

    assert held == 3
    assert len(four.replicas(volume)) == 4


def test_a_replica_that_its_head_lost_by_an_io_error_is_replaced(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    bad = four.replicas(volume)[0]
    head.lose(bad.pk, "io")

    four.call("notifyFailure", target=4, targetid=bad.pk, reason="io")
    four.work()

    (order,) = head.told("rebuild")
    assert order.replica.dextid != bad.pk
    assert order.replaces == bad.pk


def test_a_lost_replica_is_noticed_by_the_sweep_too(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    head.lose(lost.pk, "connection")

    four.reconcile()

    assert four.replicas(volume, Status.FAULTY) == [lost]


def test_with_no_other_server_a_bad_replica_is_built_anew_in_its_place(
    cluster: Cluster,
) -> None:
    for _ in range(3):
        cluster.add_storage()
    head = cluster.add_head()
    volume = cluster.create()
    cluster.attach(volume, head)
    bad = cluster.replicas(volume)[0]
    head.lose(bad.pk, "io")

    cluster.call("notifyFailure", target=4, targetid=bad.pk, reason="io")
    cluster.work(2)

    (order,) = head.told("rebuild")
    assert Replica.objects.get(pk=order.replica.dextid).server_id == bad.server_id
    head.finish(order)
    cluster.work()
    assert {replica.status for replica in cluster.replicas(volume)} == {Status.INSYNC}


def test_an_unknown_extent_is_enoent_and_a_free_one_changes_nothing(four: Cluster) -> None:
    with pytest.raises(Fault) as caught:
        four.call("notifyFailure", target=4, targetid=0x7FFFFFF0)

    assert caught.value.faultCode == errno.ENOENT
