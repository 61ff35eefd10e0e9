"""The numbers of the overview equal what counting row by row gives."""

from collections import Counter

import pytest
from django.test import Client

from inventory import clock
from inventory.models import Disk, Extent
from volumes.console.pages import overview
from volumes.models import Attachment, LogicalVolume, Mirror, Replica, UnequalBlock
from volumes.replicas.rows import GOOD
from volumes.reports import capacity, problems, protection
from volumes.reports.problems import Risk


def _fewest_by_hand() -> dict[int, int]:
    return {
        volume.pk: min(
            mirror.replicas.filter(status__in=GOOD).count() for mirror in volume.mirrors.all()
        )
        for volume in LogicalVolume.objects.all()
    }


def test_protection_is_that_of_the_weakest_part(ill: None) -> None:
    by_hand = _fewest_by_hand()
    weak = protection.weak_volumes()

    for volume in LogicalVolume.objects.all():
        known = weak[volume.pk].fewest if volume.pk in weak else volume.redundancy
        assert known == by_hand[volume.pk], volume.name
    assert protection.histogram(weak) == dict(sorted(Counter(by_hand.values()).items()))


def test_a_replica_that_is_not_there_at_all_counts_as_missing(well: None) -> None:
    replica = Replica.objects.select_related("mirror").earliest("pk")
    volume = replica.mirror.volume_id
    replica.delete()

    assert protection.weak_volumes().keys() == {volume}
    assert protection.weak_volumes([volume]).keys() == {volume}
    assert protection.weak_volumes([volume + 1]) == {}


@pytest.mark.parametrize("replicas", ["0", "1", "2", "3"])
def test_a_bar_of_the_histogram_leads_to_just_its_volumes(
    ill: None, console: Client, replicas: str
) -> None:
    by_hand = Counter(_fewest_by_hand().values())

    page = console.get(f"/admin/volumes/logicalvolume/?replicas={replicas}")

    assert page.context["cl"].result_count == by_hand[int(replicas)]


def test_space_adds_up(ill: None) -> None:
    usage = capacity.of_cluster()

    assert usage.capacity == sum(Disk.objects.values_list("capacity_gb", flat=True))
    for part, *statuses in (
        (usage.used, Extent.Status.BUSY, Extent.Status.EVACUATE),
        (usage.shredding, Extent.Status.OFFLINE),
        (usage.bad, Extent.Status.FAULTY),
        (usage.free + usage.resting, Extent.Status.FREE),
    ):
        extents = Extent.objects.filter(status__in=statuses)
        assert part == sum(extents.values_list("size_gb", flat=True)) > 0
    assert usage.resting > 0


def test_problems_are_told_most_dangerous_first(ill: None) -> None:
    found = problems.find()

    assert [problem.risk for problem in found] == sorted(problem.risk for problem in found)
    assert found[0].risk == Risk.UNREACHABLE
    assert problems.is_anything_wrong()
    told = " ".join(f"{problem.title} {problem.cause}" for problem in found)
    for what in (
        "last good replica",
        "could not be attached",
        "overdue",
        "does not answer",
        "faulty",
    ):
        assert what in told


def test_nothing_is_wrong_with_a_cluster_that_is_well(well: None, console: Client) -> None:
    assert problems.find() == []
    assert not problems.is_anything_wrong()
    assert "All data is safe" in console.get("/admin/").content.decode()
    assert "Nothing is wrong" in console.get("/admin/console/problems/").content.decode()


def test_the_verdict_names_what_it_rests_on(well: None, console: Client) -> None:
    mirror = Mirror.objects.select_related("volume").earliest("pk")
    UnequalBlock.objects.create(mirror=mirror, offset_mib=0, first=0, count=1)

    told = console.get("/admin/").content.decode()
    assert "Data is at risk" in told
    assert f"replicas of {mirror.volume.name} differ" in told

    LogicalVolume.objects.filter(pk=mirror.volume_id).update(waiting_since=clock.now())

    overview.ANSWER.forget()
    told = console.get("/admin/").content.decode()
    assert "Data is out of reach" in told
    assert f"{mirror.volume.name} is waiting for storage" in told


def test_a_problem_offers_its_next_step(ill: None, console: Client) -> None:
    broken = Attachment.objects.get(state=Attachment.State.ERROR)

    page = console.get("/admin/console/problems/").content.decode()

    assert f"/admin/console/do/detach/?on={broken.volume_id}" in page
    assert "Data is out of reach" in console.get("/admin/").content.decode()


def test_the_verdict_survives_a_volume_that_is_deleted_meanwhile(well: None) -> None:
    gone = protection.Weak(volume_id=999_999, redundancy=3, fewest=1, mirrors=1)

    assert problems.find({999_999: gone}) == []
