"""What is in maintenance, drained, paused or reduced is shown as that, with the room it leaves."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from inventory import clock
from inventory.models import Disk, Priority, StorageServer
from tests.console.conftest import PART
from volumes.jobs import wakeup
from volumes.models import Job, Replica
from volumes.reports import capacity, progress, tree

DO = "/admin/console/do/{}/"
OUTLOOK = "/admin/console/overview/outlook/"
PLACES = [
    "/admin/inventory/storageserver/2/change/",
    "/admin/inventory/storageserver/",
    "/admin/console/cluster/",
]


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


def _told(console: Client, page: str) -> str:
    return " ".join(console.get(page).content.decode().split())


def test_maintenance_is_a_state_of_its_own_and_its_room_is_not_to_be_had(
    well: None, console: Client
) -> None:
    before = sum(tree.available_gb().values())
    page = console.post(DO.format("maintain-storage"), {"on": 2, "minutes": 30}, follow=True)
    job = Job.objects.get(kind=Job.Kind.MAINTENANCE)
    assert job.deadline is not None

    until = f"maintenance until {clock.on_the_wall(job.deadline):%H:%M} UTC"
    for place in PLACES:
        assert until in _told(console, place), place
        assert "none to be allocated now" in _told(console, PLACES[1])
    assert f"end-maintenance/?on={job.pk}" in page.content.decode()
    assert "by root" in _told(console, PLACES[0])
    assert "in maintenance" in _told(console, "/admin/")

    usage = capacity.of_cluster()
    assert usage.free == sum(tree.available_gb().values()) < before
    assert usage.free + usage.resting == before


def test_the_disks_of_a_server_in_maintenance_are_in_it_too(well: None, console: Client) -> None:
    console.post(DO.format("maintain-storage"), {"on": 2, "minutes": 30})
    disk = Disk.objects.filter(server=2).earliest("pk")

    for page in (f"/admin/inventory/disk/{disk.pk}/change/", "/admin/inventory/disk/?server=2"):
        assert "maintenance until" in _told(console, page)


def test_draining_tells_how_far_it_is_and_that_it_is_paused(well: None, console: Client) -> None:
    console.post(DO.format("evacuate-storage"), {"on": 2})
    job = Job.objects.filter(kind=Job.Kind.EVACUATE)
    job.update(done_mib=40, total_mib=100, started=clock.now())
    for place in PLACES:
        assert "draining, 40 %" in _told(console, place)

    job.update(paused=True)
    for place in PLACES:
        assert "draining, paused at 40 %" in _told(console, place)
    part = console.get(f"/admin/console/jobs/{job.get().pk}/live/", headers=PART).content.decode()
    assert "nothing moves now" in part
    assert "MiB/s" not in part
    assert " left" not in part


def test_what_is_drained_does_not_look_as_if_it_were_drained_for_ever(
    well: None, console: Client
) -> None:
    StorageServer.objects.filter(pk=2).update(priority=Priority.EVACUATE)

    page = _told(console, PLACES[0])
    assert "drained" in page
    assert "it is drained: only what is up is evacuated" in page
    assert "none to be allocated now" in page
    for place in (PLACES[0], "/admin/"):
        assert "draining" not in _told(console, place), place


def test_servers_that_do_not_answer_are_not_counted_as_up(well: None, console: Client) -> None:
    before = f"?priority__exact={Priority.HIGH}&amp;answers=yes"
    assert before not in _told(console, "/admin/")

    long_ago = clock.now() - timedelta(hours=1)
    StorageServer.objects.filter(pk=2).update(silent_since=long_ago)

    part = console.get("/admin/console/overview/live/", headers=PART).content.decode()
    assert before in part
    assert "answers=no" in part
    outlook = console.get(OUTLOOK, headers=PART).content.decode()
    assert "of the room is on servers that do not answer now" in outlook
    assert "it is silent: only what is offline or faulty is deleted" in _told(console, PLACES[0])


def test_a_job_whose_step_fails_again_and_again_is_not_called_running(
    well: None, console: Client
) -> None:
    console.post(DO.format("evacuate-storage"), {"on": 2})
    job = Job.objects.filter(kind=Job.Kind.EVACUATE)
    job.update(started=clock.now(), attempts=3)

    page = _told(console, f"/admin/volumes/job/{job.get().pk}/change/")

    assert "3 tries of this step have failed" in page
    assert "retrying" in page


def test_work_that_stands_still_has_no_speed_and_no_time_left(well: None, console: Client) -> None:
    console.post(DO.format("evacuate-storage"), {"on": 2})
    job = Job.objects.get(kind=Job.Kind.EVACUATE)
    job.done_mib, job.total_mib = 96, 100
    job.started = clock.now() - timedelta(hours=1)

    job.moved = clock.now()
    assert progress.of_job(job).left is not None
    job.moved = clock.now() - timedelta(minutes=2)
    assert progress.of_job(job).left is None


def test_a_server_that_is_out_says_what_is_free_and_that_none_is_to_be_had(
    well: None, console: Client
) -> None:
    room = capacity.of_servers()[1]
    StorageServer.objects.filter(pk=1).update(priority=Priority.OFFLINE)

    told = _told(console, "/admin/inventory/storageserver/?q=ssvr-00000001")

    assert capacity.of_servers()[1].free == room.free > 0
    assert "none to be allocated now" in told


def test_volumes_with_fewer_replicas_than_promised_are_not_green(
    well: None, console: Client
) -> None:
    replica = Replica.objects.filter(mirror__volume__redundancy=3).earliest("pk")
    Replica.objects.filter(pk=replica.pk).update(status=Replica.Status.FAULTY)

    part = console.get("/admin/console/overview/live/", headers=PART).content.decode()

    assert "2, reduced" in part


@pytest.mark.parametrize(
    ("told", "which", "job"),
    [
        ("recovering", "recovering", {"kind": Job.Kind.REBUILD, "ordered": True}),
        ("waiting to recover", "to_recover", {"kind": Job.Kind.REBUILD}),
        ("scrubbing", "scrubbing", {"kind": Job.Kind.SCRUB, "ordered": True}),
    ],
)
def test_what_is_done_to_a_volume_stands_beside_its_state(
    well: None, console: Client, told: str, which: str, job: dict[str, Any]
) -> None:
    replica = Replica.objects.filter(mirror__volume__redundancy=3).earliest("pk")
    if job["kind"] == Job.Kind.REBUILD:
        Replica.objects.filter(pk=replica.pk).update(status=Replica.Status.FAULTY)
    volume = replica.mirror.volume
    about = {"subject": "a", "volume": volume, "mirror": replica.mirror}
    Job.objects.create(id=5000, due=clock.now(), **about, **job)

    pill = f"</span> {told}</span>"
    assert pill in _told(console, f"/admin/volumes/logicalvolume/{volume.pk}/change/")
    listed = _told(console, f"/admin/volumes/logicalvolume/?doing={which}")
    assert pill in listed
    assert "1 volume" in listed
    part = console.get("/admin/console/overview/live/", headers=PART).content.decode()
    assert f"?doing={which}" in part


def test_a_volume_that_has_all_its_replicas_is_moved_not_recovered(
    well: None, console: Client
) -> None:
    replica = Replica.objects.earliest("pk")
    volume = replica.mirror.volume
    about: dict[str, Any] = {"subject": "a", "volume": volume, "mirror": replica.mirror}
    Job.objects.create(id=5000, kind=Job.Kind.REBUILD, due=clock.now(), ordered=True, **about)

    assert "</span> moving</span>" in _told(console, f"/admin/volumes/logicalvolume/?q={volume}")
    part = console.get("/admin/console/overview/live/", headers=PART).content.decode()
    assert "</span> moving</span>" in part
    assert "</span> recovering</span>" not in part


@pytest.mark.usefixtures("ill")
def test_a_server_to_which_replicas_are_copied_is_recovering(console: Client) -> None:
    job = (
        Job.objects.filter(kind=Job.Kind.REBUILD, state="open").exclude(extent=None).earliest("pk")
    )
    assert job.extent is not None
    disk = job.extent.disk
    StorageServer.objects.filter(pk=disk.server_id).update(priority=1, silent_since=None)
    Disk.objects.filter(pk=disk.pk).update(priority=1)

    for path in (
        "/admin/inventory/storageserver/",
        f"/admin/inventory/storageserver/{disk.server_id}/change/",
        "/admin/inventory/disk/",
        f"/admin/inventory/disk/{disk.pk}/change/",
        "/admin/console/cluster/",
    ):
        assert "up, recovering" in console.get(path).content.decode(), path
