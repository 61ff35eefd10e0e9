"""Mirrors that no head uses are made whole between storage servers."""

import pytest

from agents.protocol import Progress, Report
from tests.jobs.conftest import Cluster, spare
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


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
