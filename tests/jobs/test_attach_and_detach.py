"""Attach, detach and fence, with simulated nodes."""

import errno
from dataclasses import replace
from datetime import datetime, timedelta
from threading import BoundedSemaphore
from xmlrpc.client import Fault

import pytest
from django.utils import timezone

from agents.protocol import AttachOrder, Progress, ReplicaMark, ReplicaReport, ReplicaState, Report
from inventory.models import HeadServer, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head, Storage
from volumes.attach import attach
from volumes.models import Attachment, Job, Replica
from volumes.worker import runner

Status = Replica.Status


def test_attach_exports_every_replica_and_binds(four: Cluster, head: Head) -> None:
    volume = four.create()

    four.attach(volume, head)

    assert four.state(volume) == "bound"
    assert len(four.replicas(volume, Status.INSYNC)) == 3
    (order,) = head.told("attach")
    assert order.epoch == 1
    assert {replica.dextid for replica in order.devices[0].mirrors[0].replicas} == {
        replica.pk for replica in four.replicas(volume)
    }
    assert order.devices[0].labels == ("data", str(volume))


def test_detach_records_a_clean_end_and_evicts(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)

    four.detach(volume)

    volume.refresh_from_db()
    assert four.state(volume) == "detached"
    assert volume.closed_cleanly
    assert volume.epoch == 2
    assert {replica.events for replica in four.replicas(volume)} == {1}
    assert not any(node.exports for node in four.world.storages.values())


def test_detach_of_what_is_not_attached_is_nothing(four: Cluster) -> None:
    assert four.call("detachLogicalVolume", lvolid=four.create().pk) == 0


def test_attach_twice_is_busy(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EBUSY


def test_detach_of_an_open_volume_is_busy_and_it_stays_bound(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.groups[volume.pk].open = True

    with pytest.raises(Fault) as caught:
        four.detach(volume)

    assert caught.value.faultCode == errno.EBUSY
    assert four.state(volume) == "bound"


def test_a_silent_storage_server_is_left_out(four: Cluster, head: Head) -> None:
    volume = four.create()
    missing = four.replicas(volume)[0]
    four.node_of(missing).die()

    four.attach(volume, head)

    assert [replica.pk for replica in four.replicas(volume, Status.FAULTY)] == [missing.pk]
    order = head.told("attach")[0]
    assert missing.pk not in {replica.dextid for replica in order.devices[0].mirrors[0].replicas}
    shown = four.call("listLogicalVolumes", lvolid=volume.pk)[0]
    assert shown["fault"] is True


def test_a_hung_storage_server_is_left_out(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.client.SYNCHRONOUS", 0.3)
    volume = four.create()
    missing = four.replicas(volume)[0]
    four.node_of(missing).hang()

    four.attach(volume, head)

    assert [replica.pk for replica in four.replicas(volume, Status.FAULTY)] == [missing.pk]


def test_a_head_that_refuses_makes_an_error_that_a_detach_clears(four: Cluster, head: Head) -> None:
    volume = four.create()
    head.refuse["attach"] = (errno.ENOMEM, "no memory")

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.ENOMEM
    assert four.call("listLogicalVolumes", lvolid=volume.pk)[0]["bind_status"] == 2
    four.detach(volume)
    assert four.state(volume) == "detached"


def test_a_head_that_died_makes_host_down(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    head.die()
    monkeypatch.setattr("volumes.worker.runner._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EHOSTDOWN
    assert four.state(volume) == "error"


def test_the_same_message_five_times_is_one_attach(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    job = four.job(Job.Kind.ATTACH)

    for _ in range(5):
        runner.run_job(job.pk)

    assert len(head.told("attach")) == 1


def test_a_worker_that_died_before_it_recorded_the_attach_costs_nothing(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.call("attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id)
    Attachment.objects.update(state="binding")
    Job.objects.filter(kind="attach").update(state="open", finished=None)

    four.work()

    assert four.state(volume) == "bound"
    assert len({(o.eventid, o.order) for o in head.told("attach")}) == 1


def test_an_unclean_end_with_an_unreadable_replica_is_not_attached(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])
    four.node_of(four.replicas(volume)[0]).die()
    monkeypatch.setattr("volumes.worker.runner._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EHOSTDOWN
    assert "newest" in caught.value.faultString
    assert len(four.replicas(volume, Status.INSYNC)) == 3


def test_the_operator_may_force_an_uncertain_attach(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])
    four.node_of(four.replicas(volume)[0]).die()

    four.call("vastsky.forceAttach", lvolid=volume.pk, hsvrid=head.server_id)

    assert four.state(volume) == "bound"
    assert len(four.replicas(volume, Status.FAULTY)) == 1


def test_by_force_a_volume_lives_on_from_a_replica_that_was_left_behind(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    back, *gone = four.replicas(volume)
    node = four.node_of(back)
    node.die()
    four.call("notifyFailure", target=2, targetid=back.server_id, reason="silent")
    for replica in gone:
        four.node_of(replica).die()
        four.call("notifyFailure", target=2, targetid=replica.server_id)
    four.comes_back(node)

    four.call("vastsky.forceAttach", lvolid=volume.pk, hsvrid=head.server_id)

    assert [replica.pk for replica in four.replicas(volume, Status.INSYNC)] == [back.pk]
    assert four.state(volume) == "bound"


def test_a_replica_left_behind_just_before_the_head_died_is_found_out(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    stale = four.replicas(volume)[0]
    head.lose(stale.pk)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])

    four.attach(volume, head)

    assert [replica.pk for replica in four.replicas(volume, Status.FAULTY)] == [stale.pk]
    mirror = head.told("attach")[-1].devices[0].mirrors[0]
    assert mirror.dirty
    assert stale.pk not in {replica.dextid for replica in mirror.replicas}


def test_what_the_head_closed_in_sync_is_so_whatever_we_thought(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    cut_off_from_us, *lost = four.replicas(volume)
    four.call("notifyFailure", target=2, targetid=cut_off_from_us.server_id, reason="silent")
    for replica in lost:
        head.lose(replica.pk)

    four.detach(volume)

    assert [replica.pk for replica in four.replicas(volume, Status.INSYNC)] == [cut_off_from_us.pk]
    volume.refresh_from_db()
    assert volume.closed_cleanly


def test_a_failed_head_is_fenced_off_before_its_volume_is_free(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    other = four.add_head()
    head.die()

    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert four.state(volume) == "detached"
    assert all(node.min_epoch[volume.pk] == 2 for node in _holders(four, volume.pk))
    four.attach(volume, other)
    assert other.told("attach")[0].epoch == 3


def test_what_a_fenced_head_says_of_its_replicas_costs_the_volume_none(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])
    for replica in four.replicas(volume)[:2]:
        head.lose(replica.pk, "connection")
        four.call("notifyFailure", target=4, targetid=replica.pk, reason="connection")

    four.reconcile()

    assert len(four.replicas(volume, Status.INSYNC)) == 3


def test_failure_of_a_head_ends_the_attach_that_is_under_way(four: Cluster, head: Head) -> None:
    volume = four.create()
    Attachment.objects.create(volume=volume, head_id=head.server_id)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert four.state(volume) == "detached"


def test_a_silent_head_keeps_its_volumes(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.die()
    four.reconcile()
    _silent_for_an_hour(head)

    four.reconcile()

    assert four.call("listHeadServers", hsvrid=head.server_id)[0]["priority"] == 4
    assert four.state(volume) == "bound"


def test_a_detach_from_a_head_that_is_out_says_that_nobody_was_asked(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.die()
    _silent_for_an_hour(head)
    four.reconcile()

    four.detach(volume)

    assert four.state(volume) == "detached"
    *_, told, end = [line.text for line in four.job(Job.Kind.DETACH).lines.all()]
    assert told == "hsvr-00000001 is Offline: it was not asked whether the volume is in use"
    assert end == "done"


def test_a_head_that_lost_a_volume_in_a_reboot_is_fenced(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    _bound_an_hour_ago()
    head.groups.clear()

    four.reconcile()
    four.work()

    assert four.state(volume) == "detached"
    volume.refresh_from_db()
    assert not volume.closed_cleanly


def test_old_news_of_a_head_says_nothing_of_a_volume_that_was_bound_since(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    Attachment.objects.update(since=timezone.now() - timedelta(seconds=20))
    head.groups.clear()
    head.age = 30

    four.reconcile()

    assert four.state(volume) == "bound"


def test_a_group_that_nobody_knows_is_taken_down(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    group = head.groups[volume.pk]
    four.detach(volume)
    head.groups[volume.pk] = group

    four.reconcile()

    assert not head.groups


def test_an_export_of_an_old_epoch_is_evicted(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    node = four.node_of(four.replicas(volume)[0])
    kept = dict(node.exports)
    four.detach(volume)
    node.exports = kept

    four.reconcile()

    assert not node.exports


def _holders(four: Cluster, group: int) -> list[Storage]:
    return [node for node in four.world.storages.values() if group in node.min_epoch]


def _silent_for_an_hour(head: Head) -> None:
    HeadServer.objects.filter(pk=head.server_id).update(
        silent_since=_an_hour_ago(), last_answer=_an_hour_ago()
    )


def _bound_an_hour_ago() -> None:
    Attachment.objects.update(since=_an_hour_ago())


def _an_hour_ago() -> datetime:
    return timezone.now() - timedelta(hours=1)


def test_an_attach_asked_again_while_marks_are_written_costs_no_replica(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    slow = four.replicas(volume)[0].pk
    before, assemble = four.world.mark(slow), head.on_attach

    def assemble_slowly(order: AttachOrder) -> Report:
        """Mark one replica after the others, and be asked again in between."""
        asked_again = (order.eventid, order.order) in head.reports
        done = assemble(order)
        if asked_again:
            return done
        four.world.marks[slow] = before
        return Report(order.eventid, order.order, Progress.RUNNING)

    monkeypatch.setattr(head, "on_attach", assemble_slowly)
    job = attach.request_attach(volume, head.server_id)
    four.work(3)

    job.refresh_from_db()
    assert job.state == "done"
    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}


def test_a_head_cannot_speak_of_replicas_of_other_groups(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, other = four.create(), four.create("other")
    four.attach(other, head)
    strange = four.replicas(other)[0].pk
    state = ReplicaReport(strange, four.mirror(other).pk, ReplicaState.FAULTY, 1, "io")
    assemble = head.on_attach
    monkeypatch.setattr(
        head, "on_attach", lambda order: replace(assemble(order), replicas=(state,))
    )

    four.attach(volume, head)

    assert len(four.replicas(other, Status.INSYNC)) == 3


def test_after_a_total_outage_the_replicas_that_are_as_new_as_the_lost_one_serve(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    for replica in four.replicas(volume):
        four.call("notifyFailure", target=2, targetid=replica.server_id, reason="restarted")
        four.node_of(replica).die()
    (last,) = four.replicas(volume, Status.INSYNC)
    others = [replica for replica in four.replicas(volume) if replica != last]
    for replica in others:
        four.comes_back(four.node_of(replica))

    four.attach(volume, head)

    assert four.replicas(volume, Status.INSYNC) == others


def test_a_replica_that_was_left_out_once_never_counts_by_its_mark(
    four: Cluster, head: Head
) -> None:
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    four.detach(volume)
    away, used = four.replicas(volume)
    four.silence(four.node_of(away), 30)
    four.reconcile()
    four.attach(volume, head)
    four.detach(volume)
    four.node_of(away).start()
    four.node_of(used).die()
    mark = four.world.mark(used.pk)
    four.world.marks[away.pk] = ReplicaMark(away.pk, 1, mark.events, clean=True)
    StorageServer.objects.update(priority=1)

    job = attach.request_attach(volume, head.server_id)
    four.work(2)

    job.refresh_from_db()
    assert "must answer" in job.waiting


@pytest.mark.parametrize("force", [False, True])
def test_space_that_counts_as_zero_but_bears_a_mark_is_shown_to_nobody(
    four: Cluster, head: Head, *, force: bool
) -> None:
    """As after a database was restored from a backup: it knows nothing of who wrote there since."""
    volume = four.create()
    for replica in four.replicas(volume):
        four.world.marks[replica.pk] = ReplicaMark(replica.pk, 7, 3, clean=True)

    job = attach.request_attach(volume, head.server_id, force=force)
    four.work(2)

    job.refresh_from_db()
    assert not head.told("attach")
    assert "was not zeroed" in job.waiting


def test_a_call_that_may_not_wait_any_more_is_told_and_its_work_goes_on(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    monkeypatch.setattr("volumes.worker.runner.PATIENCE", 0.01)
    places = BoundedSemaphore(1)
    monkeypatch.setattr("volumes.worker.runner._waiting", places)
    with places, pytest.raises(Fault) as caught:  # somebody else waits
        four.attach(volume, head)

    assert caught.value.faultCode == errno.ETIMEDOUT
    assert "goes on as event" in caught.value.faultString
    four.work()
    assert four.state(volume) == "bound"
    four.detach(volume)
