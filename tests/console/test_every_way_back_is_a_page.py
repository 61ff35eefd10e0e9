"""No button leads to a part of a page; what was done is told where it was done."""

import re
from html import unescape

import pytest
from django.test import Client

from inventory.models import HeadServer, Priority, StorageServer
from tests.console.conftest import PART
from volumes.jobs import queue, wakeup
from volumes.models import Attachment, Job, LogicalVolume

PARTS = {
    "/admin/console/overview/live/": "/admin/",
    "/admin/console/problems/live/": "/admin/console/problems/",
    "/admin/console/cluster/live/": "/admin/console/cluster/",
    "/admin/console/volumes/new/preview/": "/admin/console/volumes/new/",
    "/admin/console/volumes/1/layers/": "/admin/volumes/logicalvolume/1/change/",
    "/admin/console/volumes/1/live/?part=1": "/admin/volumes/logicalvolume/1/change/?part=1",
    "/admin/console/jobs/1/live/": "/admin/volumes/job/1/change/",
    "/admin/console/heads/1/live/": "/admin/inventory/headserver/1/change/",
    "/admin/console/servers/1/live/": "/admin/inventory/storageserver/1/change/",
    "/admin/console/servers/1/disks/": "/admin/inventory/storageserver/1/change/",
    "/admin/console/disks/1/live/": "/admin/inventory/disk/1/change/",
    "/admin/console/disks/1/map/": "/admin/inventory/disk/1/change/",
}


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


def _ways_back(page: str) -> set[str]:
    return {unescape(way).split("back=")[1] for way in re.findall(r'/do/[^"]*back=[^"]*', page)}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_a_person_asks_for_leads_to_its_page(
    well: None, console: Client, part: str
) -> None:
    answer = console.get(part)

    assert (answer.status_code, answer["Location"]) == (302, PARTS[part])
    assert console.get(PARTS[part]).status_code == 200


def test_after_a_refresh_the_buttons_of_a_job_lead_back_to_its_page(
    well: None, console: Client
) -> None:
    console.post("/admin/console/do/evacuate-disk/", {"on": 1})
    job = Job.objects.get(kind=Job.Kind.EVACUATE)

    part = console.get(f"/admin/console/jobs/{job.pk}/live/", headers=PART).content.decode()

    assert _ways_back(part) == {f"/admin/volumes/job/{job.pk}/change/"}


def test_an_evacuation_is_told_and_paused_on_the_page_of_its_disk(
    well: None, console: Client
) -> None:
    page = console.post("/admin/console/do/evacuate-disk/", {"on": 1}, follow=True)

    job = Job.objects.get(kind=Job.Kind.EVACUATE)
    assert page.redirect_chain == [("/admin/inventory/disk/1/change/", 302)]
    assert f"/admin/console/do/pause-job/?on={job.pk}" in page.content.decode()
    assert "began" not in page.content.decode()


def test_a_job_that_ended_is_news_for_a_minute(
    well: None, console: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = LogicalVolume.objects.filter(attachment=None, origin=None).earliest("pk")
    console.post("/admin/console/do/attach/", {"on": volume.pk, "head": 1})
    job = Job.objects.get(kind=Job.Kind.ATTACH, state=Job.State.OPEN)
    told = f'aria-label="Job {job.pk}"'
    part = f"/admin/console/volumes/{volume.pk}/live/"

    queue.finish(job, 5, "the head is on fire")
    assert told in console.get(part, headers=PART).content.decode()

    long_ago = job.created.replace(year=2020)
    Job.objects.filter(pk=job.pk).update(finished=long_ago)
    assert told not in console.get(part, headers=PART).content.decode()


def test_what_was_chosen_in_a_list_leads_back_to_the_list(well: None, console: Client) -> None:
    bound = Attachment.objects.filter(state=Attachment.State.BOUND)
    chosen = list(bound.values_list("volume", flat=True)[:2])
    back = "/admin/volumes/logicalvolume/?attached=bound"

    page = console.post("/admin/console/do/detach/", {"on": chosen, "back": back}, follow=True)

    assert page.redirect_chain == [(back, 302)]
    assert "done or begun for 2 of 2" in page.content.decode()


def test_a_deleted_volume_says_when_and_by_whom(well: None, console: Client) -> None:
    volume = LogicalVolume.objects.filter(attachment=None, origin=None, snapshots=None).earliest(
        "pk"
    )
    console.post("/admin/console/do/delete-volume/", {"on": volume.pk, "phrase": volume.name})

    part = console.get(f"/admin/console/volumes/{volume.pk}/live/", headers=PART)
    page = console.get(f"/admin/volumes/logicalvolume/{volume.pk}/change/")

    assert (part.status_code, page.status_code) == (286, 404)
    for told in (part.content.decode(), page.content.decode()):
        assert f"Volume {volume.name} was deleted" in " ".join(told.split())
        assert "By <strong>root</strong>" in told
        assert "/console/do/" not in told


def test_a_deleted_server_and_a_volume_that_never_was_say_so(well: None, console: Client) -> None:
    HeadServer.objects.create(pk=77, priority=Priority.OFFLINE)
    console.post("/admin/console/do/delete-head/", {"on": 77, "phrase": "hsvr-0000004d"})

    server = console.get("/admin/console/heads/77/live/", headers=PART).content.decode()
    never = console.get("/admin/volumes/logicalvolume/99999/change/").content.decode()

    assert "hsvr-0000004d was deleted" in " ".join(server.split())
    assert "There is no volume lvol-0001869f" in " ".join(never.split())


def test_a_list_gives_its_open_page_the_rows_alone(well: None, console: Client) -> None:
    rows = console.get("/admin/volumes/logicalvolume/", headers=PART).content.decode()

    assert rows.count("vs-name") == LogicalVolume.objects.count()
    assert "<html" not in rows


def test_the_tree_is_loaded_anew_once_it_has_another_branch(well: None, console: Client) -> None:
    page = console.get("/admin/console/cluster/").content.decode()
    ways = re.search(r"/admin/console/cluster/live/\?shape=\w+", page)
    assert ways is not None

    assert "HX-Refresh" not in console.get(ways[0], headers=PART).headers
    StorageServer.objects.create(pk=88, rack="new")
    assert console.get(ways[0], headers=PART).headers["HX-Refresh"] == "true"


def test_an_empty_list_does_not_tell_people_to_create_what_nodes_create(
    db: None, console: Client
) -> None:
    for kind in ("orphan", "unequalblock"):
        page = console.get(f"/admin/volumes/{kind}/").content.decode()
        assert "Create a new item" not in page
    assert "The nodes hold nothing" in console.get("/admin/volumes/orphan/").content.decode()
