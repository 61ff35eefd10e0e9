"""A snapshot that missed what its origin overwrote is broken, for ever, and everybody is told."""

from dataclasses import replace

import pytest
from django.core.management import call_command
from django.test import Client

from agents.protocol import Progress, Report, SnapshotOrder
from inventory.models import AuditEntry, HeadServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.lifecycle import snapshots
from volumes.models import Attachment, Job, LogicalVolume, Replica
from volumes.reports import problems

LONG_AGO = "2020-01-01T00:00Z"


@pytest.fixture
def origin(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, head)
    return volume


@pytest.fixture
def snapshot(four: Cluster, origin: LogicalVolume) -> LogicalVolume:
    """A snapshot that has been on its head for long."""
    lvolid = four.call("createSnapshot", origin_lvolid=origin.pk, snapshot_lvolname="before")
    long_ago()
    return LogicalVolume.objects.get(pk=lvolid)


def long_ago() -> None:
    Attachment.objects.update(since=LONG_AGO)
    Replica.objects.update(since=LONG_AGO)


def forget(head: Head, origin: LogicalVolume, snapshot: LogicalVolume) -> None:
    """Let a head run the origin without the snapshot, as heads of the first version could."""
    head.groups[origin.pk].snapshots.discard(snapshot.pk)


def test_a_snapshot_that_its_head_has_forgotten_is_broken_and_its_links_are_taken_down(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    forget(head, origin, snapshot)

    four.reconcile()
    four.reconcile()

    snapshot.refresh_from_db()
    assert snapshot.broken
    assert snapshot.broken_because == f"hsvr-{head.server_id:08x} ran its origin without it"
    assert [order.snapshot for order in head.told("unsnapshot")] == [snapshot.pk]
    assert four.state(origin) == "bound"


def test_a_broken_snapshot_says_so_everywhere(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume, admin_client: Client
) -> None:
    head.groups[origin.pk].broken.add(snapshot.pk)
    HeadServer.objects.update(name="north")

    four.reconcile()

    assert four.call("listLogicalVolumes", lvolid=snapshot.pk)[0]["fault"] is True
    assert four.call("listLogicalVolumes", lvolid=origin.pk)[0]["fault"] is False
    (entry,) = AuditEntry.objects.filter(verb="break_snapshot")
    assert (entry.subject, entry.actor) == (str(snapshot), "system")
    for page in (
        "/admin/console/problems/",
        "/admin/volumes/logicalvolume/?replicas=broken",
        f"/admin/volumes/logicalvolume/{snapshot.pk}/change/",
    ):
        assert (
            "north (hsvr-00000001) could not keep in its store"
            in admin_client.get(page).content.decode()
        )
    assert "A snapshot is lost" in admin_client.get("/admin/").content.decode()
    call_command("fsck")


def test_a_broken_snapshot_is_a_problem_until_it_is_deleted(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    head.groups[origin.pk].broken.add(snapshot.pk)
    four.reconcile()
    (problem,) = problems.find()
    was_wrong = problems.is_anything_wrong()

    head.groups[origin.pk].broken.clear()
    four.call("deleteLogicalVolume", lvolid=snapshot.pk)

    assert (problem.about, problem.verb) == (snapshot, "delete-volume")
    assert was_wrong
    assert problems.find() == []


def test_that_a_snapshot_is_broken_is_written_down_once(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    head.groups[origin.pk].broken.add(snapshot.pk)

    four.reconcile()
    four.reconcile()
    four.detach(origin)

    assert AuditEntry.objects.filter(verb="break_snapshot").count() == 1


def test_the_store_of_a_broken_snapshot_is_not_repaired(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    head.lose(four.replicas(snapshot)[0].pk)
    four.reconcile()
    job = four.job(Job.Kind.REBUILD)
    head.groups[origin.pk].broken.add(snapshot.pk)

    four.reconcile()
    four.work()

    job.refresh_from_db()
    assert job.state != Job.State.OPEN
    long_ago()
    call_command("fsck")


def test_a_snapshot_is_not_held_for_forgotten_while_it_is_made_nor_before_its_head_is_asked_anew(
    four: Cluster, head: Head, origin: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_usual = Head.on_snapshot
    monkeypatch.setattr(Head, "on_snapshot", running)
    snapshots.create_snapshot(origin=origin, name="before")
    four.work()
    long_ago()
    four.reconcile()
    made = LogicalVolume.objects.get(name="before")
    assert not made.broken

    monkeypatch.setattr(Head, "on_snapshot", as_usual)
    four.work()
    assert four.job(Job.Kind.SNAPSHOT).state == Job.State.DONE
    forget(head, origin, made)  # as it was told before
    four.reconcile()

    made.refresh_from_db()
    assert not made.broken


def running(_: Head, order: SnapshotOrder) -> Report:
    return Report(order.eventid, order.order, Progress.RUNNING)


def test_a_head_that_lost_its_group_is_believed_that_it_broke_a_snapshot(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    head.groups[origin.pk].broken.add(snapshot.pk)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work(2)
    four.call("registerHeadServer", ip_data=[head.address])

    four.reconcile()

    snapshot.refresh_from_db()
    assert snapshot.broken
    assert origin.pk not in head.groups


def test_a_snapshot_that_broke_elsewhere_is_taken_away_from_the_head_that_shows_it(
    four: Cluster, head: Head, origin: LogicalVolume, snapshot: LogicalVolume
) -> None:
    LogicalVolume.objects.filter(pk=snapshot.pk).update(broken=True)

    four.reconcile()

    assert [order.snapshot for order in head.told("unsnapshot")] == [snapshot.pk]


def test_a_group_without_its_origin_is_lost(
    four: Cluster, head: Head, origin: LogicalVolume
) -> None:
    long_ago()
    group = head.groups[origin.pk]
    group.order = replace(group.order, devices=())

    four.reconcile()
    four.work(2)

    assert four.state(origin) == "detached"
