"""Servers and disks are emptied or left alone, and jobs obey their operators. Simulated nodes."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from inventory.errors import Busy, Invalid
from inventory.models import Disk, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica
from volumes.repair import drain
from volumes.worker import operations

Status = Replica.Status


@pytest.fixture
def volume(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, head)
    return volume


@pytest.fixture
def server(four: Cluster, volume: LogicalVolume) -> StorageServer:
    return four.replicas(volume)[0].server


def finish_rebuilds(four: Cluster, head: Head) -> None:
    four.work()
    for order in head.told("rebuild"):
        head.finish(order)
    four.work(2)


def test_a_plan_tells_what_would_move_and_changes_nothing(
    four: Cluster, server: StorageServer
) -> None:
    plan = drain.plan_evacuation(server)

    assert (plan.replicas, plan.gb, plan.stuck) == (1, 5, 0)
    server.refresh_from_db()
    assert server.priority == 1


def test_a_plan_says_what_has_no_other_place(cluster: Cluster) -> None:
    for _ in range(3):
        cluster.add_storage()
    volume = cluster.create()

    plan = drain.plan_evacuation(cluster.replicas(volume)[0].server)

    assert plan.stuck == 1
    assert plan.reason


def test_a_plan_knows_that_replicas_move_only_to_disks_with_their_tags(
    four: Cluster, volume: LogicalVolume, server: StorageServer
) -> None:
    LogicalVolume.objects.filter(pk=volume.pk).update(tags="ssd")

    plan = drain.plan_evacuation(server)

    assert plan.stuck == 1
    assert "without the tags ssd" in plan.reason


def test_an_evacuation_moves_every_replica_and_ends(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    job = drain.start_evacuation(server)

    finish_rebuilds(four, head)

    job.refresh_from_db()
    assert job.state == "done"
    assert not Replica.objects.filter(server=server).exists()
    assert {replica.status for replica in four.replicas(volume)} == {Status.INSYNC}


def test_a_paused_evacuation_moves_nothing_until_it_goes_on(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    job = drain.start_evacuation(server)
    drain.pause(job, paused=True)

    four.work(2)
    assert not head.told("rebuild")
    assert "paused" in four.job(Job.Kind.REBUILD).waiting

    drain.pause(job, paused=False)
    finish_rebuilds(four, head)
    assert not Replica.objects.filter(server=server).exists()


def test_a_pause_stops_a_move_that_has_its_place_and_has_not_begun(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer, settings: Settings
) -> None:
    settings.VASTSKY_REBUILDS_TOTAL = 0
    job = drain.start_evacuation(server)
    four.work(2)
    assert four.replicas(volume, Status.SPARE)

    drain.pause(job, paused=True)
    settings.VASTSKY_REBUILDS_TOTAL = 4
    four.work(2)
    assert not head.told("rebuild")
    assert "paused" in four.job(Job.Kind.REBUILD).waiting

    drain.pause(job, paused=False)
    finish_rebuilds(four, head)
    assert not Replica.objects.filter(server=server).exists()


def test_a_paused_evacuation_says_what_has_begun_and_finishes_first(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    job = drain.start_evacuation(server)
    four.work()
    assert head.told("rebuild")

    drain.pause(job, paused=True)
    four.work()

    job.refresh_from_db()
    assert job.waiting == "5 GiB are left, paused; 1 move that has begun finishes first"


def test_a_canceled_evacuation_gives_the_server_back(
    four: Cluster, head: Head, server: StorageServer
) -> None:
    job = drain.start_evacuation(server)

    operations.cancel_job(job)
    four.work()

    server.refresh_from_db()
    assert server.priority == 1
    assert not head.told("rebuild")
    with pytest.raises(Busy):
        operations.cancel_job(job)


def test_a_disk_can_be_evacuated_by_itself(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    disk = four.disk_of(four.replicas(volume)[0])

    drain.start_evacuation(disk)
    finish_rebuilds(four, head)

    assert not Replica.objects.filter(extent__disk=disk).exists()
    assert Disk.objects.get(pk=disk.pk).priority == 3


def test_what_is_out_cannot_be_evacuated(four: Cluster, server: StorageServer) -> None:
    four.call("notifyFailure", target=2, targetid=server.pk)
    server.refresh_from_db()

    with pytest.raises(Invalid):
        drain.start_evacuation(server)


def test_maintenance_keeps_silence_from_replacing_replicas(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    job = drain.start_maintenance(server, 30)
    four.silence(four.world.storages[server.pk], 100_000)

    four.reconcile()
    four.work(2)
    assert not head.told("rebuild")
    assert "maintenance" in four.job(Job.Kind.REBUILD).waiting

    Job.objects.filter(pk=job.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    four.work(2)
    assert head.told("rebuild")


def test_nothing_new_lands_on_what_is_in_maintenance(four: Cluster, server: StorageServer) -> None:
    drain.start_maintenance(server, 30)

    other = four.create("other")

    assert server.pk not in {replica.server_id for replica in four.replicas(other)}


def test_the_only_good_replica_is_not_taken_away_for_maintenance(
    four: Cluster, volume: LogicalVolume
) -> None:
    first, second, last = (replica.server for replica in four.replicas(volume))
    for server in (first, second):
        four.call("notifyFailure", target=2, targetid=server.pk)

    with pytest.raises(Busy):
        drain.start_maintenance(last, 30)


def test_a_forced_rebuild_does_not_wait_for_the_grace(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    four.silence(four.world.storages[server.pk], 30)
    four.reconcile()
    four.work()

    operations.force_job(four.job(Job.Kind.REBUILD))
    four.work()

    assert head.told("rebuild")


def test_a_forced_detach_gives_up_a_head_that_does_not_answer(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    head.die()
    job = four.begin_detach(volume)
    four.work()
    assert four.state(volume) == "unbinding"

    operations.force_job(job)
    four.work()

    assert four.state(volume) == "detached"


def test_a_shred_or_rebuild_is_never_canceled(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    four.call("notifyFailure", target=2, targetid=server.pk)

    with pytest.raises(Invalid):
        operations.cancel_job(four.job(Job.Kind.REBUILD))


def test_trying_again_takes_a_waiting_job_up_at_once(
    four: Cluster, head: Head, volume: LogicalVolume, server: StorageServer
) -> None:
    four.silence(four.world.storages[server.pk], 30)
    four.reconcile()
    four.work()
    job = four.job(Job.Kind.REBUILD)
    assert job.due > timezone.now()

    operations.retry_job(job)

    job.refresh_from_db()
    assert job.due <= timezone.now()


def test_a_second_evacuation_does_not_cost_the_replica_that_the_head_still_uses(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    first, _, last = four.replicas(volume)
    drain.start_evacuation(last.server)
    four.work()
    drain.start_evacuation(first.server)
    finish_rebuilds(four, head)

    used = set(head.groups[volume.pk].replicas)
    assert {replica.pk for replica in four.replicas(volume, Status.INSYNC)} == used


def test_a_replica_that_the_head_let_go_is_not_counted_though_another_was_lost_meanwhile(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    moved, lost, _ = four.replicas(volume)
    drain.start_evacuation(moved.server)
    four.work()
    head.lose(lost.pk)
    four.reconcile()
    finish_rebuilds(four, head)

    used = {c.dextid for c in head.groups[volume.pk].replicas.values() if c.state == "insync"}
    assert {replica.pk for replica in four.replicas(volume, Status.INSYNC)} == used
