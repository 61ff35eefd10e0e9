"""What the console shows of scrubs and of blocks that differ, and what it lets people do."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inventory.models import AuditEntry, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.rot import contents, rot, scrub
from volumes.models import Job, LogicalVolume, UnequalBlock


@pytest.fixture
def console(four: Cluster) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_both_contents_are_shown_as_hashes_and_the_one_that_is_chosen_is_taken(
    four: Cluster, pair: LogicalVolume, console: Client
) -> None:
    rot(four, four.replicas(pair)[0])
    scrub(four, pair)
    for server in StorageServer.objects.all():
        StorageServer.objects.filter(pk=server.pk).update(name=f"store-{server.pk}")
    block = UnequalBlock.objects.get()
    right = block.contents.get(digest="")

    shown = console.get(f"/admin/volumes/unequalblock/{block.pk}/change/").content.decode()
    listed = console.get("/admin/volumes/unequalblock/").content.decode()
    wrong = console.get("/admin/console/problems/").content.decode()
    preview = console.get(f"/admin/console/do/take-content/?on={right.pk}").content.decode()
    led = console.get(f"/admin/volumes/blockcontent/{right.pk}/change/")
    console.post("/admin/console/do/take-content/", {"on": right.pk, "phrase": "data"})
    four.work(2)

    for server in StorageServer.objects.filter(replicas__mirror__volume=pair):
        assert server.label in shown
        assert server.label in listed
    assert f"what is on {StorageServer.objects.get(pk=right.server_id).label}" in preview
    audited = AuditEntry.objects.get(verb="mend_block").detail
    assert audited.endswith(f"zeros on store-{right.server_id} (ssvr-{right.server_id:08x})")
    assert "evil" in shown
    assert "zeros" in shown
    assert shown.count("Take this content") == 2
    assert "4096 bytes at 7360512" in listed
    assert "replicas of data differ" in wrong
    assert "are overwritten on the other replicas" in preview
    assert led["Location"] == f"/admin/volumes/unequalblock/{block.pk}/change/"
    assert len(contents(four, pair)) == 1
    assert AuditEntry.objects.get(verb="mend_block").actor == "root"
    after = console.get(f"/admin/volumes/unequalblock/{block.pk}/change/").content.decode()
    assert "do/take-content/" not in after


def test_a_volumes_page_shows_the_last_pass_and_how_far_the_next_is(
    four: Cluster, volume: LogicalVolume, console: Client
) -> None:
    console.post("/admin/console/do/scrub-volume/", {"on": volume.pk})
    Job.objects.filter(kind="scrub").update(done_mib=1024)

    shown = console.get(f"/admin/volumes/logicalvolume/{volume.pk}/change/").content.decode()

    assert "being compared" in shown
    assert "20 %" in shown
    assert "do/scrub-volume/" not in shown


def test_all_scrubs_rest_and_go_on_from_the_list(four: Cluster, console: Client) -> None:
    assert "Pause scrubs" in console.get("/admin/volumes/unequalblock/").content.decode()
    console.post("/admin/console/do/pause-scrubs/", {"on": 1})
    paused = console.get("/admin/volumes/unequalblock/").content.decode()
    assert "Scrubs are paused" in paused
    assert "Resume scrubs" in paused

    console.post("/admin/console/do/resume-scrubs/", {"on": 1})
    going = console.get("/admin/volumes/unequalblock/").content.decode()
    assert "Pause scrubs" in going
