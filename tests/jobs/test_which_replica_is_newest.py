"""Which replicas an attach starts from, after clean and unclean shutdowns."""

import errno
from xmlrpc.client import Fault

import pytest

from agents.protocol import AttachOrder, Progress, ReplicaMark, Report
from inventory import recovery
from inventory.models import StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from volumes.attach import attach
from volumes.models import Replica

Status = Replica.Status


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
    StorageServer.objects.filter(pk=used.server_id).update(name="south")

    job = attach.request_attach(volume, head.server_id)
    four.work(2)

    job.refresh_from_db()
    assert f"dext-{used.pk:08x} on south ({used.server}) must answer" in job.waiting
    assert f"mirr-{used.mirror_id:08x} of {volume.name}" in job.waiting


def test_new_space_that_bears_a_mark_is_shown_to_nobody_though_its_node_serves_it(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a node of an older version does, which is not told that the space has to be clean."""
    volume = four.create()
    used, *others = four.replicas(volume)
    four.world.marks[used.pk] = ReplicaMark(used.pk, 7, 3, clean=True)
    monkeypatch.setattr(Storage, "_hold", lambda *_: True)

    four.attach(volume, head)

    (order,) = head.told("attach")
    (mirror,) = order.devices[0].mirrors
    taken = {replica.dextid for replica in mirror.replicas}
    assert used.pk not in taken
    assert len(taken) == 3
    assert taken.issuperset(replica.pk for replica in others)


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
    assert "is not clean" in job.waiting
    assert "somebody's replica" in recovery.why()
