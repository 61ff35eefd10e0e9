"""Space is zeroed before anyone gets it again; snapshots come and go. With simulated nodes."""

import errno
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command

from agents.protocol import Progress, Report, SnapshotOrder, UnsnapshotOrder
from inventory.models import Extent
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head
from volumes.attach import attach
from volumes.lifecycle import snapshots
from volumes.models import Job, LogicalVolume, Replica
from volumes.repair import shred


def test_a_new_disk_is_shredded_and_then_free(cluster: Cluster) -> None:
    node = cluster.world.new_storage()
    node.server_id = cluster.call("registerStorageServer", ip_data=[node.address])
    cluster.world.storages[node.server_id] = node
    cluster.call(
        "registerPhysicalDisk", ssvrid=node.server_id, local_path="/d", capacity=str(100 << 21)
    )

    cluster.work()  # nobody needs to look for what there is to do

    assert cluster.free_gb() == 99
    assert cluster.call("listStorageServers")[0]["available"] == 99


def test_a_disk_that_comes_back_has_its_spoilt_space_shredded_at_once(
    four: Cluster, head: Head
) -> None:
    before = four.free_gb()
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    node = four.node_of(four.replicas(volume)[0])
    node.die()
    four.call("notifyFailure", target=2, targetid=node.server_id)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    four.reconcile()
    four.work()
    assert four.free_gb() == before - 5

    four.comes_back(node)
    four.work()

    assert four.free_gb() == before


def test_what_a_head_may_have_written_is_zeroed_before_it_is_free(
    four: Cluster, head: Head
) -> None:
    before = four.free_gb()
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    extents = {replica.pk for replica in four.replicas(volume)}

    four.call("deleteLogicalVolume", lvolid=volume.pk)
    assert four.free_gb() == before - 15
    four.reconcile()
    four.work()

    assert four.free_gb() == before
    assert {d for node in four.world.storages.values() for d in node.shredded} == extents
    call_command("fsck")


def test_what_no_head_ever_saw_is_free_at_once(four: Cluster) -> None:
    before = four.free_gb()
    volume = four.create()

    four.call("deleteLogicalVolume", lvolid=volume.pk)

    assert four.free_gb() == before


def test_a_long_shred_is_polled_and_shows_progress(four: Cluster, head: Head) -> None:
    job = _begin_long_shred(four, head)

    assert job.state == "open"
    assert job.done_mib == 5
    (event,) = four.call("listEvents", event_status=2)
    assert (event["eventid"], event["event"], event["targetid"]) == (job.pk, 3, job.extent_id)
    assert four.call("listEvents") == []


def test_the_nodes_word_ends_a_shred_under_way(four: Cluster, head: Head) -> None:
    job = _begin_long_shred(four, head)
    free = four.free_gb()

    for _ in range(2):
        four.call("notifyShredFinished", dextid=job.extent_id, eventid=job.pk)

    assert four.free_gb() == free + 5


def test_nobody_talks_us_into_space_that_was_not_zeroed(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    extent = four.replicas(volume)[0].pk
    four.call("deleteLogicalVolume", lvolid=volume.pk)

    four.call("notifyShredFinished", dextid=extent)

    assert Extent.objects.get(pk=extent).status == Extent.Status.OFFLINE


def test_a_shred_that_keeps_failing_ends_with_its_cause_and_the_space_rests(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    poisoned = four.node_of(four.replicas(volume)[0])
    poisoned.refuse["shred"] = (errno.EIO, "the disk is ill")
    four.call("deleteLogicalVolume", lvolid=volume.pk)

    four.reconcile()
    four.work(shred.TRIES)
    four.reconcile()

    failed = Job.objects.get(kind="shred", state="failed")
    assert failed.error == "the disk is ill"
    assert Job.objects.filter(kind="shred", state="done").count() == 2
    assert not Job.objects.filter(kind="shred", state="open").exists()


def test_space_of_a_server_that_went_out_is_shredded_as_soon_as_it_is_back(
    four: Cluster, head: Head
) -> None:
    job = _begin_long_shred(four, head)
    node = next(n for n in four.world.storages.values() if n.hold_shreds)
    node.die()
    four.call("notifyFailure", target=2, targetid=node.server_id)
    four.work()
    node.hold_shreds = False

    four.comes_back(node)
    four.reconcile()
    four.work()

    job.refresh_from_db()
    assert job.state == "canceled"
    assert job.extent_id in {None, *node.shredded}
    assert not Extent.objects.filter(status=Extent.Status.OFFLINE).exists()


def test_a_large_stretch_is_zeroed_piece_by_piece(cluster: Cluster) -> None:
    node = cluster.world.new_storage()
    node.server_id = cluster.call("registerStorageServer", ip_data=[node.address])
    cluster.world.storages[node.server_id] = node
    cluster.call(
        "registerPhysicalDisk", ssvrid=node.server_id, local_path="/d", capacity=str(2000 << 21)
    )

    cluster.work()
    assert cluster.free_gb() == shred.PIECE_GB
    for _ in range(3):
        cluster.reconcile()
        cluster.work()

    assert cluster.free_gb() == 1999
    call_command("fsck")


def _begin_long_shred(four: Cluster, head: Head) -> Job:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    four.node_of(four.replicas(volume)[0]).hold_shreds = True
    slow = four.replicas(volume)[0].pk
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    four.reconcile()
    four.work()
    return Job.objects.get(kind="shred", extent=slow)


# -- snapshots ------------------------------------------------------------------------------------


@pytest.fixture
def origin(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, head)
    return volume


def snapshot_of(four: Cluster, origin: LogicalVolume, name: str = "before") -> LogicalVolume:
    lvolid = four.call("createSnapshot", origin_lvolid=origin.pk, snapshot_lvolname=name)
    return LogicalVolume.objects.get(pk=lvolid)


def test_a_snapshot_of_an_attached_origin_appears_on_its_head(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    snapshot = snapshot_of(four, origin)

    (order,) = head.told("snapshot")
    assert order.device.lvolid == snapshot.pk
    assert {replica.status for replica in four.replicas(snapshot)} == {Replica.Status.INSYNC}
    shown = four.call("listLogicalVolumes", lvolid=origin.pk)[0]
    assert shown["associated_from"] == [{"lvolid": snapshot.pk, "type": "snapshot"}]


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
    head.groups[origin.pk].snapshots.add(4711)

    four.reconcile()

    assert [order.snapshot for order in head.told("unsnapshot")] == [4711]


def running(_: Head, order: SnapshotOrder | UnsnapshotOrder) -> Report:
    return Report(order.eventid, order.order, Progress.RUNNING)


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
