"""A head reaches no good replica of a volume: it waits, and so do we."""

from django.test import Client

from inventory.models import StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica
from volumes.reports import problems

Status = Replica.Status


def lose_all_storage(cluster: Cluster, head: Head, seconds: int = 60) -> None:
    for group in head.groups.values():
        group.waiting = seconds
        for dextid in group.replicas:
            head.cut_off(dextid)
    cluster.reconcile()
    for node in cluster.world.storages.values():
        cluster.silence(node, seconds)


def have_it_back(cluster: Cluster, head: Head) -> None:
    for node in cluster.world.storages.values():
        node.start()
    for group in head.groups.values():
        group.waiting = 0
        for dextid in group.replicas:
            head.cut_off(dextid, reason="")


def test_nothing_of_a_volume_that_waits_for_storage_is_failed_or_replaced(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lose_all_storage(four, head)
    for _ in range(2):
        four.reconcile()
        four.work()

    assert StorageServer.objects.filter(priority=4).count() == 4
    assert len(four.replicas(volume, Status.INSYNC)) == len(four.replicas(volume)) == 3
    assert head.told("rebuild") == []


def test_a_volume_whose_storage_is_back_together_is_whole_without_a_rebuild(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lose_all_storage(four, head, seconds=3)
    four.reconcile()

    have_it_back(four, head)
    for _ in range(2):
        four.reconcile()
        four.work()

    assert {(r.status, r.reason) for r in four.replicas(volume)} == {(Status.INSYNC, "")}
    assert head.told("rebuild") == []
    assert not Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN).exists()
    volume.refresh_from_db()
    assert volume.waiting_since is None


def test_replicas_that_stay_away_are_failed_once_the_volume_goes_on(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lose_all_storage(four, head)
    four.reconcile()
    back, *_ = four.replicas(volume)
    four.comes_back(four.node_of(back))

    head.groups[volume.pk].waiting = 0
    head.cut_off(back.pk, reason="")
    four.reconcile()

    assert [replica.pk for replica in four.replicas(volume, Status.INSYNC)] == [back.pk]


def test_what_somebody_declared_failed_is_failed_although_the_volume_waits(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lose_all_storage(four, head)
    lost, *_ = four.replicas(volume)

    four.call("notifyFailure", target=2, targetid=lost.server_id)

    assert lost.pk not in {replica.pk for replica in four.replicas(volume, Status.INSYNC)}


def test_a_volume_that_waits_is_told_in_lists_on_its_page_and_as_a_problem(
    four: Cluster, head: Head, volume: LogicalVolume, admin_client: Client
) -> None:
    lose_all_storage(four, head)

    (row,) = four.call("vastsky.listWaiting")
    (problem,) = [one for one in problems.find() if one.about == volume]

    assert (row["lvolid"], row["lvolname"]) == (volume.pk, volume.name)
    assert 60 <= row["seconds"] < 90
    assert problem.title == f"{volume.name} is waiting for storage"
    assert problem.since is not None
    assert problems.is_anything_wrong()
    for page in ("", f"{volume.pk}/change/"):
        shown = admin_client.get(f"/admin/volumes/logicalvolume/{page}")
        assert "waiting for storage" in shown.content.decode()


def test_a_volume_that_was_detached_waits_for_nothing(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lose_all_storage(four, head)
    four.detach(volume)

    four.reconcile()

    assert four.call("vastsky.listWaiting") == []
    assert LogicalVolume.objects.get(pk=volume.pk).waiting_since is None
