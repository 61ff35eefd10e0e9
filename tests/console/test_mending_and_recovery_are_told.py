"""What is mended by itself is no alarm, a risk is one, and in recovery mode no room is promised."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents.checksums import UNREADABLE
from inventory import clock, recovery
from tests.console.conftest import PART
from volumes.models import BlockContent, Job, Mirror, UnequalBlock


def _differing(mirror: Mirror, digests: list[str]) -> UnequalBlock:
    job = Job.objects.create(id=7000, kind=Job.Kind.MEND, subject="a", due=clock.now())
    block = UnequalBlock.objects.create(mirror=mirror, offset_mib=0, first=0, count=1, job=job)
    for number, digest in enumerate(digests):
        BlockContent.objects.create(block=block, dextid=number + 1, server_id=1, digest=digest)
    return block


def test_what_the_cluster_is_about_to_mend_by_itself_is_not_told_as_a_risk(
    well: None, console: Client
) -> None:
    block = _differing(Mirror.objects.earliest("pk"), ["a" * 32, "a" * 32, "b" * 32])

    told = console.get("/admin/").content.decode()
    assert "Data is safe, something is being mended" in told
    assert f"replicas of {block.mirror.volume.name} differ" in told
    assert "being mended" in console.get("/admin/console/problems/").content.decode()


@pytest.mark.parametrize("trouble", ["no majority", "one readable", "slow", "failed", "no job"])
def test_what_is_not_soon_mended_by_itself_is_a_risk(
    well: None, console: Client, trouble: str
) -> None:
    digests = {"no majority": ["a" * 32, "b" * 32], "one readable": ["a" * 32, UNREADABLE]}
    agreed = ["a" * 32, "a" * 32, "b" * 32]
    block = _differing(Mirror.objects.earliest("pk"), digests.get(trouble, agreed))
    if trouble == "slow":
        found = timezone.now() - timedelta(minutes=2)
        UnequalBlock.objects.filter(pk=block.pk).update(found=found)
    if trouble == "failed":
        Job.objects.filter(pk=7000).update(attempts=1)
    if trouble == "no job":
        Job.objects.filter(pk=7000).delete()

    assert "Data is at risk" in console.get("/admin/").content.decode()


def test_in_recovery_mode_no_page_says_that_space_can_be_allocated(
    well: None, console: Client
) -> None:
    recovery.enter("a test")

    overview_page = console.get("/admin/").content.decode()
    assert "nothing can be allocated until recovery mode ends" in overview_page
    assert "can be allocated now" not in overview_page
    outlook = console.get("/admin/console/overview/outlook/", headers=PART).content.decode()
    placement = console.get("/admin/console/placement/").content.decode()
    for told in (outlook, placement):
        assert "No volume can be created until recovery mode ends" in told
        assert "can still be created" not in told
    preview = console.get("/admin/console/volumes/new/").content.decode()
    assert "creating a volume has to wait: the cluster is in recovery mode" in preview
    servers = console.get("/admin/inventory/storageserver/").content.decode()
    assert "none to be allocated now" in servers
