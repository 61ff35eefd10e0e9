"""Snapshots are made, shown and deleted, with simulated nodes."""

import errno
from typing import Any
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command

from agents.protocol import Progress, Report, SnapshotOrder, UnsnapshotOrder
from inventory import ids
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.attach import assemble, attach
from volumes.lifecycle import snapshots
from volumes.models import Job, LogicalVolume, Replica
from volumes.worker import runner


@pytest.fixture
def origin(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, head)
    return volume


def snapshot_of(four: Cluster, origin: LogicalVolume, name: str = "before") -> LogicalVolume:
    lvolid = four.call("createSnapshot", origin_lvolid=origin.pk, snapshot_lvolname=name)
    return LogicalVolume.objects.get(pk=lvolid)


def running(_: Head, order: SnapshotOrder | UnsnapshotOrder) -> Report:
    return Report(order.eventid, order.order, Progress.RUNNING)


def test_what_no_head_ever_saw_is_free_at_once(four: Cluster) -> None:
    before = four.free_gb()
    volume = four.create()

    four.call("deleteLogicalVolume", lvolid=volume.pk)

    assert four.free_gb() == before


def test_a_snapshot_of_an_attached_origin_appears_on_its_head(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)

    (order,) = head.told("snapshot")
    assert order.device.lvolid == snapshot.pk
    assert {replica.status for replica in four.replicas(snapshot)} == {Replica.Status.INSYNC}
    shown = four.call("listLogicalVolumes", lvolid=origin.pk)[0]
    assert shown["associated_from"] == [{"lvolid": snapshot.pk, "type": "snapshot"}]


def test_a_replica_that_was_placed_while_its_snapshot_was_being_made_is_behind(
    four: Cluster, head: Head, origin: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = assemble.prepare

    def meet_a_failure(*args: Any, **options: Any) -> Any:
        store = LogicalVolume.objects.get(origin=origin)
        node = four.node_of(four.replicas(store)[0])
        node.die()
        prepared = prepare(*args, **options)
        four.call("notifyFailure", target=2, targetid=node.server_id)
        # Nobody has written the store yet, so a new replica is as good as the others.
        for job in Job.objects.filter(kind=Job.Kind.REBUILD, mirror__volume=store):
            runner.run_job(job.pk)
        return prepared

    monkeypatch.setattr(assemble, "prepare", meet_a_failure)
    snapshot = snapshot_of(four, origin)

    (order,) = head.told("snapshot")
    used = {replica.dextid for replica in order.device.mirrors[0].replicas}
    replicas = four.replicas(snapshot)
    assert {r.pk for r in replicas if r.status == Replica.Status.INSYNC} == used
    assert [r.status for r in replicas if r.pk not in used] == [Replica.Status.FAULTY]


def test_a_snapshot_that_the_head_refuses_leaves_nothing(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    head.refuse["snapshot"] = (errno.ENOMEM, "no memory")

    with pytest.raises(Fault) as caught:
        snapshot_of(four, origin)

    assert caught.value.faultCode == errno.ENOMEM
    assert LogicalVolume.objects.count() == 1
    call_command("fsck")


def test_a_snapshot_goes_with_its_origin(four: Cluster, head: Head, origin: LogicalVolume) -> None:
    snapshot = snapshot_of(four, origin)
    four.detach(origin)

    four.attach(origin, head)

    assert [d.lvolid for d in head.told("attach")[-1].devices] == [origin.pk, snapshot.pk]


def test_a_snapshot_is_deleted_while_its_origin_is_attached(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)

    four.call("deleteLogicalVolume", lvolid=snapshot.pk)

    assert head.told("unsnapshot")[0].snapshot == snapshot.pk
    assert not LogicalVolume.objects.filter(pk=snapshot.pk).exists()
    assert four.state(origin) == "bound"
    call_command("fsck")


def test_a_snapshot_that_is_open_is_not_deleted(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)
    head.refuse["unsnapshot"] = (errno.EBUSY, "open")

    with pytest.raises(Fault) as caught:
        four.call("deleteLogicalVolume", lvolid=snapshot.pk)

    assert caught.value.faultCode == errno.EBUSY
    assert not LogicalVolume.objects.get(pk=snapshot.pk).broken


def test_a_snapshot_is_deleted_once_the_process_of_its_head_is_back(
    four: Cluster, head: Head, origin: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = snapshot_of(four, origin)
    as_usual = Head.on_unsnapshot

    def while_it_is_revived(_: Head, order: UnsnapshotOrder) -> Report:
        return Report(
            order.eventid, order.order, Progress.FAILED, errno=errno.ENOENT, message="no process"
        )

    monkeypatch.setattr(Head, "on_unsnapshot", while_it_is_revived)
    snapshots.delete_snapshot(snapshot)
    job = four.job(Job.Kind.UNSNAPSHOT)
    four.work(3)
    monkeypatch.setattr(Head, "on_unsnapshot", as_usual)
    four.work()

    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert not LogicalVolume.objects.filter(pk=snapshot.pk).exists()
    call_command("fsck")


def test_a_snapshot_that_its_head_may_have_let_go_is_never_assembled_again(
    four: Cluster, head: Head, origin: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = snapshot_of(four, origin)
    monkeypatch.setattr(Head, "on_unsnapshot", running)
    snapshots.delete_snapshot(snapshot)
    four.work()
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])

    four.attach(origin, head)

    assert [d.lvolid for d in head.told("attach")[-1].devices] == [origin.pk]
    four.detach(origin)
    four.call("deleteLogicalVolume", lvolid=snapshot.pk)


def test_a_snapshot_that_was_being_made_when_its_head_failed_is_not_kept(
    four: Cluster, head: Head, origin: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Head, "on_snapshot", running)
    snapshots.create_snapshot(origin=origin, name="before")
    four.work()

    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert list(LogicalVolume.objects.all()) == [origin]
    call_command("fsck")


def test_a_snapshot_that_was_given_up_while_its_head_made_it_is_taken_down(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    given_up = ids.take("volume")[0]
    head.groups[origin.pk].snapshots.add(given_up)

    four.reconcile()

    assert [order.snapshot for order in head.told("unsnapshot")] == [given_up]


def test_a_broken_snapshot_never_keeps_its_origin_from_being_attached(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)
    for replica in four.replicas(snapshot):
        head.lose(replica.pk, "io")

    four.detach(origin)
    four.attach(origin, head)

    assert [d.lvolid for d in head.told("attach")[-1].devices] == [origin.pk]
    assert four.call("listLogicalVolumes", lvolid=snapshot.pk)[0]["fault"] is True
    Replica.objects.filter(mirror__volume=snapshot).update(since="2020-01-01T00:00Z")
    call_command("fsck")
    four.detach(origin)
    four.call("deleteLogicalVolume", lvolid=snapshot.pk)


def test_a_snapshot_that_the_head_calls_broken_is_not_assembled_again(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)
    head.groups[origin.pk].broken.add(snapshot.pk)

    four.reconcile()

    snapshot.refresh_from_db()
    assert snapshot.broken


def test_an_origin_with_snapshots_is_not_deleted(four: Cluster, origin: LogicalVolume) -> None:
    four.detach(origin)
    snapshot_of(four, origin)

    with pytest.raises(Fault) as caught:
        four.call("deleteLogicalVolume", lvolid=origin.pk)

    assert caught.value.faultCode == errno.EBUSY


def test_shutdown_is_refused_while_something_is_attached(
    four: Cluster, origin: LogicalVolume
) -> None:
    with pytest.raises(Fault) as caught:
        four.call("shutdownAll")

    assert caught.value.faultCode == errno.EBUSY
    four.detach(origin)
    four.call("shutdownAll")
    assert {s["priority"] for s in four.call("listStorageServers")} == {6}
    assert {h["priority"] for h in four.call("listHeadServers")} == {4}


def test_a_forced_attach_shows_no_snapshot_whose_store_was_left_behind(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.call("createSnapshot", origin_lvolid=volume.pk, snapshot_lvolname="was")
    snapshot = LogicalVolume.objects.get(name="was")
    behind, *newest = four.replicas(snapshot)
    head.lose(behind.pk)
    four.call("notifyFailure", target=4, targetid=behind.pk, reason="connection")
    for replica in newest:
        four.node_of(replica).die()
    head.die()
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work(5)
    other = four.add_head()

    attach.request_attach(volume, other.server_id, force=True)
    four.work(3)

    assert four.state(volume) == "bound"
    (order,) = other.told("attach")
    assert [device.lvolid for device in order.devices] == [volume.pk]
    snapshot.refresh_from_db()
    assert snapshot.broken
