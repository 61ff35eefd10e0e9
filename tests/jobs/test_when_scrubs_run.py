"""When mirrors are compared: the oldest first, a few at a time, and not while scrubs rest."""

import errno
from datetime import timedelta

from django.utils import timezone
from pytest_django import Settings

from inventory import clock
from inventory.models import Disk
from tests.jobs.conftest import Cluster
from tests.jobs.rot import rot, scrub, unequal
from volumes.models import Job, LogicalVolume, Mirror
from volumes.reports import problems
from volumes.reports.problems import volume_problems
from volumes.scrub import passes
from volumes.worker import runner


def test_mirrors_whose_turn_it_is_are_queued_the_oldest_first(
    four: Cluster, settings: Settings
) -> None:
    settings.VASTSKY_SCRUBS_TOTAL = 2
    volumes = [four.create(f"v{n}") for n in range(4)]
    for days, volume in zip((25, 40, 1, 30), volumes, strict=True):
        since = clock.now() - timedelta(days=days)
        Mirror.objects.filter(volume=volume).update(scrubbed=since)

    assert passes.request_due() == 2
    assert passes.request_due() == 0
    first = list(
        Job.objects.filter(kind="scrub").order_by("pk").values_list("mirror__volume__name")
    )
    assert first == [("v1",), ("v3",)]
    four.work(6)
    assert passes.request_due() == 1
    four.work(4)
    assert passes.request_due() == 0


def test_reconcile_queues_scrubs_unless_they_are_switched_off(
    four: Cluster, settings: Settings
) -> None:
    four.create()
    Mirror.objects.update(scrubbed=clock.now() - timedelta(days=60))
    settings.VASTSKY_SCRUB_DAYS = 0
    four.reconcile()
    assert not Job.objects.filter(kind="scrub").exists()

    settings.VASTSKY_SCRUB_DAYS = 30
    four.reconcile()
    assert Job.objects.filter(kind="scrub").count() == 1


def test_one_disk_is_read_by_one_scrub_at_a_time(four: Cluster) -> None:
    volumes = [four.create(f"v{n}", redundancy=4) for n in range(2)]
    for volume in volumes:
        four.call("vastsky.scrubVolume", lvolid=volume.pk)
    first, second = Job.objects.filter(kind="scrub").order_by("pk")
    Job.objects.filter(pk=first.pk).update(ordered=True, due=timezone.now() + timedelta(seconds=50))
    runner.run_job(second.pk)

    second.refresh_from_db()
    assert second.waiting in [
        f"other scrubs run on {disk.server}:{disk.local_path} ({disk})"
        for disk in Disk.objects.all()
    ]


def test_paused_scrubs_rest_until_they_are_resumed(four: Cluster, volume: LogicalVolume) -> None:
    four.call("vastsky.pauseScrubs")
    Mirror.objects.update(scrubbed=clock.now() - timedelta(days=60))
    assert passes.request_due() == 0

    job = scrub(four, volume)
    assert (job.state, job.waiting) == ("open", "scrubs are paused")
    four.call("vastsky.resumeScrubs")
    four.work(3)

    job.refresh_from_db()
    assert job.state == "done"


def test_one_scrub_is_paused_and_goes_on_where_it_was(four: Cluster, volume: LogicalVolume) -> None:
    four.call("vastsky.scrubVolume", lvolid=volume.pk)
    job = four.job(Job.Kind.SCRUB)
    four.call("vastsky.pauseJob", eventid=job.pk)
    four.work(3)
    assert four.job(Job.Kind.SCRUB).waiting == "paused"

    four.call("vastsky.resumeJob", eventid=job.pk)
    four.work(3)
    assert four.job(Job.Kind.SCRUB).state == "done"


def test_a_pass_that_was_put_off_goes_on_where_it_was(four: Cluster, volume: LogicalVolume) -> None:
    Mirror.objects.update(scrub_mib=3000, scrubbed=clock.now() - timedelta(days=60))

    passes.request_due()
    four.work(3)

    asked = [q.offset_mib for node in four.world.storages.values() for q in node.told("checksums")]
    assert min(asked) == 3000
    assert four.mirror(volume).scrub_mib == 0


def test_a_mirror_of_which_much_differs_is_told_once_and_not_row_by_row(
    four: Cluster, pair: LogicalVolume
) -> None:
    rotten = four.replicas(pair)[0]
    for chunk in range(40):
        four.world.write(rotten.pk, chunk, 3, ["x"])
        four.world.write(rotten.pk, chunk, 9, ["x"])

    job = scrub(four, pair)

    assert (job.state, job.errno) == ("failed", errno.EIO)
    assert len(unequal(four)) == 64
    assert len(problems.find()) <= volume_problems.LISTED + 1


def test_a_finding_is_dismissed_by_canceling_its_job(four: Cluster, pair: LogicalVolume) -> None:
    rot(four, four.replicas(pair)[0])
    scrub(four, pair)
    (told,) = unequal(four)

    four.call("vastsky.cancelJob", eventid=told["eventid"])
    assert unequal(four) == []
    scrub(four, pair)
    assert len(unequal(four)) == 1


def test_a_deleted_volume_takes_its_findings_along(four: Cluster, idle: LogicalVolume) -> None:
    rot(four, four.replicas(idle)[0], "x")
    rot(four, four.replicas(idle)[1], "y")
    scrub(four, idle)
    assert len(unequal(four)) == 1

    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.work(2)

    assert unequal(four) == []
    assert not Job.objects.filter(kind__in=["mend", "scrub"], state="open").exists()
