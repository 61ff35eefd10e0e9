"""Mirrors are made whole again, with simulated nodes."""

import errno
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command
from pytest_django import Settings

from agents.protocol import Progress, Report
from inventory.models import Disk, Extent, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head
from volumes.attach import attach
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


@pytest.fixture
def volume(four: Cluster, head: Head) -> LogicalVolume:
    """A volume that is attached to the head."""
    volume = four.create()
    four.attach(volume, head)
    return volume


@pytest.fixture
def idle(four: Cluster, head: Head) -> LogicalVolume:
    """A volume that was attached and detached in order."""
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    return volume


def spare(four: Cluster) -> int:
    """The server that holds no replica of the only volume."""
    held = set(Replica.objects.values_list("server", flat=True))
    (free,) = set(four.world.storages) - held
    return free


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
    assert "too many" in four.job(Job.Kind.REBUILD).waiting


def test_the_last_good_replica_is_never_given_up(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    for server in list(four.world.storages):
        four.call("notifyFailure", target=2, targetid=server)

    assert len(four.replicas(volume, Status.INSYNC)) == 1


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


def test_a_detached_volume_is_healed_between_the_storage_servers(
    four: Cluster, idle: LogicalVolume
) -> None:
    lost = four.replicas(idle)[0]
    target = four.world.storages[spare(four)]
    four.node_of(lost).die()

    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()
    (order,) = target.told("pull")
    assert order.epoch == 2
    target.finish(order)
    four.work()

    assert {replica.status for replica in four.replicas(idle)} == {Status.INSYNC}
    assert {replica.events for replica in four.replicas(idle)} == {1}


def test_an_attach_during_a_pull_takes_the_rebuild_over(
    four: Cluster, head: Head, idle: LogicalVolume
) -> None:
    lost = four.replicas(idle)[0]
    target = four.world.storages[spare(four)]
    four.node_of(lost).die()
    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()
    (pull,) = target.told("pull")

    four.attach(idle, head)
    target.finish(pull)
    four.work(2)

    assert four.replicas(idle, Status.SPARE)
    (order,) = head.told("rebuild")
    assert order.replica.dextid == pull.target.dextid


def test_a_failed_rebuild_is_tried_again_and_then_elsewhere(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    four.add_storage()
    lost = four.replicas(volume)[0]
    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()
    first = head.told("rebuild")[0]

    for _ in range(3):
        head.finish(head.told("rebuild")[-1], Progress.FAILED)
        four.work(2)

    places = [order.replica.dextid for order in head.told("rebuild")]
    assert places[:3] == [first.replica.dextid] * 3
    assert places[3] != first.replica.dextid


def test_a_volume_never_attached_needs_no_copying(four: Cluster) -> None:
    volume = four.create()
    lost = four.replicas(volume)[0]

    four.call("notifyFailure", target=2, targetid=lost.server_id)
    four.work()

    assert [replica.status for replica in four.replicas(volume)] == [Status.ALLOCATED] * 3
    assert four.job(Job.Kind.REBUILD).state == "done"


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


def test_the_nodes_word_ends_a_rebuild_under_way(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    four.call("notifyFailure", target=2, targetid=four.replicas(volume)[0].server_id)
    four.work()
    new = four.replicas(volume, Status.SPARE)[0]
    told = {"mirrorid": new.mirror_id, "dexts": [{"dextid": new.pk, "dext_status": 2}]}

    for _ in range(2):
        four.call("notifyRebuildMirrorFinished", **told)

    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}
    assert four.job(Job.Kind.REBUILD).state == "done"


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


def test_news_of_a_rebuild_from_before_a_detach_counts_for_nothing(
    four: Cluster, head: Head, volume: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    four.call("notifyFailure", target=2, targetid=four.replicas(volume)[0].server_id)
    four.work()
    (order,) = head.told("rebuild")

    class SlowToBeHeard:
        def report(self, eventid: int, number: int) -> Report:
            four.detach(volume)
            four.attach(volume, head)
            return Report(eventid, number, Progress.DONE)

    monkeypatch.setattr("volumes.repair.transfer.agent", lambda *_: SlowToBeHeard())
    four.work()

    assert Replica.objects.get(pk=order.replica.dextid).status == Status.SPARE


def test_the_nodes_word_on_a_rebuild_of_an_older_epoch_changes_nothing(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    four.call("notifyFailure", target=2, targetid=four.replicas(volume)[0].server_id)
    four.work()
    new = four.replicas(volume, Status.SPARE)[0]
    four.detach(volume)

    told = [{"dextid": new.pk, "dext_status": 2}]
    four.call("notifyRebuildMirrorFinished", mirrorid=new.mirror_id, dexts=told)

    new.refresh_from_db()
    assert new.status == Status.SPARE


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


def test_each_try_pulls_from_the_next_good_replica(four: Cluster, idle: LogicalVolume) -> None:
    target = four.world.storages[spare(four)]
    four.call("notifyFailure", target=2, targetid=four.replicas(idle)[0].server_id)
    four.work()

    target.finish(target.told("pull")[0], Progress.FAILED, "the source cannot be read")
    four.work(2)

    first, second = target.told("pull")
    assert first.source.export != second.source.export


def test_what_a_pull_left_exported_is_dropped(four: Cluster, idle: LogicalVolume) -> None:
    target = four.world.storages[spare(four)]
    four.call("notifyFailure", target=2, targetid=four.replicas(idle)[0].server_id)
    four.work()
    four.reconcile()
    assert any(node.exports for node in four.world.storages.values())
    target.finish(target.told("pull")[0])
    four.work(3)

    four.reconcile()

    assert not any(node.exports for node in four.world.storages.values())
    assert set(target.min_epoch.values()) <= {2}


def test_a_server_lost_while_it_was_unknown_who_is_newest_is_replaced_once_that_is_known(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("notifyFailure", target=2, targetid=lost.server_id)
    assert four.replicas(volume, Status.FAULTY) == []

    LogicalVolume.objects.filter(pk=volume.pk).update(closed_cleanly=True)
    four.reconcile()

    assert four.replicas(volume, Status.FAULTY) == [lost]
    assert four.job(Job.Kind.REBUILD).state == Job.State.OPEN


def test_a_sweep_keeps_the_last_good_replica_when_all_servers_are_out(
    four: Cluster, idle: LogicalVolume
) -> None:
    StorageServer.objects.update(priority=4)

    for _ in range(2):
        four.reconcile()

    assert len(four.replicas(idle, Status.INSYNC)) == 1


def test_a_volume_that_was_not_closed_in_order_is_examined_and_healed(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    stale, bad, newest = four.replicas(volume)
    four.call("notifyFailure", target=4, targetid=bad.pk, reason="io")
    head.lose(stale.pk)
    head.die()
    four.call("notifyFailure", target=1, targetid=head.server_id)

    four.work(3)
    pulls = [o for node in four.world.storages.values() for o in node.told("pull")]

    volume.refresh_from_db()
    assert volume.closed_cleanly
    assert four.replicas(volume, Status.INSYNC) == [newest]
    assert pulls[0].source.export.startswith(f"{newest.pk}.")


def test_a_volume_whose_newest_replica_may_be_out_of_reach_is_left_alone(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    silent, bad, _ = four.replicas(volume)
    four.call("notifyFailure", target=4, targetid=bad.pk, reason="io")
    head.die()
    four.node_of(silent).die()
    four.call("notifyFailure", target=1, targetid=head.server_id)

    four.work(6)

    volume.refresh_from_db()
    assert not volume.closed_cleanly
    assert not any(node.told("pull") for node in four.world.storages.values())
    assert "newest" in four.job(Job.Kind.REBUILD).waiting


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
