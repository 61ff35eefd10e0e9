"""The last good replica of a mirror, and a head that knows more than the manager."""

import pytest
from django.core.management import call_command

from inventory.models import StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.attach import attach
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


def test_the_last_good_replica_is_never_given_up(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    for server in list(four.world.storages):
        four.call("notifyFailure", target=2, targetid=server)

    assert len(four.replicas(volume, Status.INSYNC)) == 1


def test_a_last_replica_that_is_cut_off_is_exported_anew_when_its_server_is_back(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    for replica in four.replicas(volume)[:2]:
        head.lose(replica.pk)
        four.call("notifyFailure", target=4, targetid=replica.pk, reason="connection")
    (last,) = four.replicas(volume, Status.INSYNC)
    head.cut_off(last.pk)
    before = len(four.node_of(last).told("export"))

    four.reconcile()
    four.work()

    assert len(four.node_of(last).told("export")) == before + 1
    (order,) = head.told("rebuild")
    assert order.replica.dextid == last.pk
    head.finish(order)
    four.work()
    last.refresh_from_db()
    assert (last.status, last.reason) == (Status.INSYNC, "")


def test_a_last_replica_that_its_head_reaches_again_keeps_no_reason_and_is_whole(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    for replica in four.replicas(volume)[:2]:
        head.lose(replica.pk)
        four.call("notifyFailure", target=4, targetid=replica.pk, reason="connection")
    (last,) = four.replicas(volume, Status.INSYNC)
    head.cut_off(last.pk)
    four.reconcile()
    noted = Replica.objects.get(pk=last.pk).reason

    head.cut_off(last.pk, reason="")
    four.reconcile()

    assert (noted, Replica.objects.get(pk=last.pk).reason) == ("connection", "")


def test_a_replica_that_only_the_manager_cannot_reach_is_kept_until_another_is_good(
    cluster: Cluster,
) -> None:
    for _ in range(3):
        cluster.add_storage()
    head = cluster.add_head()
    volume = cluster.create(redundancy=2)
    cluster.attach(volume, head)
    unreached = cluster.replicas(volume)[0]
    node = cluster.node_of(unreached)
    cluster.silence(node, 30)
    cluster.reconcile()
    cluster.work()

    cluster.comes_back(node)
    cluster.reconcile()
    cluster.work()

    assert not node.shredded
    (order,) = head.told("rebuild")
    head.finish(order)
    cluster.work()
    cluster.reconcile()
    cluster.work()
    assert node.shredded == [unreached.pk]


def test_a_sweep_keeps_the_last_good_replica_when_all_servers_are_out(
    four: Cluster, idle: LogicalVolume
) -> None:
    StorageServer.objects.update(priority=4)

    for _ in range(2):
        four.reconcile()

    assert len(four.replicas(idle, Status.INSYNC)) == 1


def test_where_all_replicas_went_at_once_the_heads_last_one_counts_not_ours(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    heads_last, *others = four.replicas(volume)
    for replica in (heads_last, *others):
        four.call("notifyFailure", target=2, targetid=replica.server_id, reason="restarted")
    for replica in others:
        head.lose(replica.pk)
    head.cut_off(heads_last.pk)
    assert heads_last.pk not in {replica.pk for replica in four.replicas(volume, Status.INSYNC)}
    for replica in four.replicas(volume):
        node = four.node_of(replica)
        node.die()
        four.comes_back(node)

    for _ in range(2):
        four.reconcile()
    four.work()

    assert heads_last.pk in {order.replica.dextid for order in head.told("rebuild")}
    assert [replica.pk for replica in four.replicas(volume, Status.INSYNC)] == [heads_last.pk]


def test_a_replica_that_the_head_alone_reaches_counts_once_it_is_the_only_one_in_use(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    newest, *others = four.replicas(volume)
    four.silence(four.node_of(newest), 30)
    four.reconcile()
    for replica in others:
        head.lose(replica.pk)
        four.call("notifyFailure", target=4, targetid=replica.pk, reason="connection")
    four.reconcile()

    head.die()
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work(6)
    attached = attach.request_attach(volume, four.add_head().server_id)
    four.work(3)

    attached.refresh_from_db()
    assert attached.state == Job.State.OPEN
    assert f"dext-{newest.pk:08x}" in attached.waiting


@pytest.mark.parametrize(("reason", "goes"), [("", True), ("connection", False)])
def test_a_lost_replica_that_its_head_closes_in_sync_never_leads_to_one_too_many(
    four: Cluster, head: Head, reason: str, *, goes: bool
) -> None:
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    lost, kept = four.replicas(volume)
    four.call("notifyFailure", target=4, targetid=lost.pk, reason=reason)
    four.reconcile()
    four.work()
    assert four.replicas(volume, Status.SPARE)

    four.detach(volume)
    four.work(4)
    for node in four.world.storages.values():
        for order in node.told("pull"):
            node.finish(order)
    four.work(6)
    four.reconcile()

    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}
    assert (lost not in four.replicas(volume), kept in four.replicas(volume)) == (goes, True)
    assert len(four.replicas(volume)) == 2
    assert not Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN).exists()
    call_command("fsck")
