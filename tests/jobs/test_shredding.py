"""Space that a head may have written is zeroed before anybody else gets it."""

import errno

from django.core.management import call_command

from inventory.models import Extent
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Job
from volumes.repair import shred


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


def test_a_new_disk_is_shredded_and_then_free(cluster: Cluster) -> None:
    node = cluster.world.new_storage()
    node.server_id = cluster.call(
        "registerStorageServer", ip_data=[node.address], host_name="store-1"
    )
    cluster.world.storages[node.server_id] = node
    cluster.call(
        "registerPhysicalDisk", ssvrid=node.server_id, local_path="/d", capacity=str(100 << 21)
    )

    cluster.work()  # nobody needs to look for what there is to do

    assert cluster.free_gb() == 99
    assert cluster.job(Job.Kind.SHRED).subject.startswith("store-1:/d (pdsk-")
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
