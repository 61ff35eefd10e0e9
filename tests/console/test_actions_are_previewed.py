"""An action says what it will do, does it through the use case, and shows a refusal."""

from typing import Any

import pytest
from django.test import Client

from inventory.models import AuditEntry, Disk, HeadServer, Priority, StorageServer
from tests.console.conftest import PART
from volumes.jobs import queue, wakeup
from volumes.models import Attachment, Job, LogicalVolume

DO = "/admin/console/do/{}/"
STORAGES = "/admin/inventory/storageserver/"


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


def _detached() -> LogicalVolume:
    return LogicalVolume.objects.filter(attachment=None, origin=None, snapshots=None).earliest("pk")


def _attached() -> LogicalVolume:
    bound = LogicalVolume.objects.filter(attachment__state=Attachment.State.BOUND)
    return bound.filter(snapshots=None).earliest("pk")


def _post(client: Client, verb: str, **fields: Any) -> str:
    return client.post(DO.format(verb), fields, follow=True).content.decode()


def test_attach_leads_back_to_its_volume_where_the_job_is_told(well: None, console: Client) -> None:
    volume = _detached()

    page = _post(console, "attach", on=volume.pk, head=1)

    job = Job.objects.get(kind=Job.Kind.ATTACH, state=Job.State.OPEN)
    assert (job.volume_id, job.actor) == (volume.pk, "root")
    assert f"Volume {volume.name}" in page
    assert f'aria-label="Job {job.pk}"' in page


def test_attach_without_a_head_server_does_nothing(well: None, console: Client) -> None:
    page = _post(console, "attach", on=_detached().pk)

    assert "This field is required." in page
    assert not Job.objects.filter(state=Job.State.OPEN).exists()


def test_what_cannot_be_done_is_told_before_and_left_alone(well: None, console: Client) -> None:
    detached, attached = _detached(), _attached()

    preview = console.get(DO.format("detach"), {"on": [detached.pk, attached.pk]}).content.decode()
    _post(console, "detach", on=[detached.pk, attached.pk])

    assert "1 of 2 will be done" in preview
    assert "it is not attached" in preview
    assert list(Job.objects.filter(state=Job.State.OPEN).values_list("volume", flat=True)) == [
        attached.pk
    ]


def test_a_refusal_of_the_use_case_is_shown_as_its_sentence(well: None, console: Client) -> None:
    volume = _attached()
    queue.submit(Job.Kind.SNAPSHOT, subject="another snapshot", volume=volume)

    page = _post(console, "detach", on=volume.pk)

    assert "is under way" in page
    assert Attachment.objects.get(volume=volume).state == Attachment.State.BOUND


def test_deleting_asks_for_the_name(well: None, console: Client) -> None:
    volume = _detached()

    page = _post(console, "delete-volume", on=volume.pk, phrase="something else")
    assert "nothing was done" in page
    assert LogicalVolume.objects.filter(pk=volume.pk).exists()

    _post(console, "delete-volume", on=volume.pk, phrase=volume.name)
    assert not LogicalVolume.objects.filter(pk=volume.pk).exists()


def test_declaring_a_server_failed_names_what_it_hits(well: None, console: Client) -> None:
    preview = console.get(DO.format("fail-storage"), {"on": 1}).content.decode()

    _post(console, "fail-storage", on=1, phrase="ssvr-00000001")

    assert "good replicas of" in preview
    assert "2 disks are out with it: ssvr-00000001:/" in preview
    assert "(pdsk-00000001), 1.5 TiB, " in preview
    assert "at stake" not in preview
    assert StorageServer.objects.get(pk=1).priority == Priority.OFFLINE


def test_the_last_replica_is_not_given_up_without_its_name_typed(
    well: None, console: Client
) -> None:
    _post(console, "fail-storage", on=1, phrase="ssvr-00000001")
    _post(console, "fail-storage", on=2, phrase="ssvr-00000002")

    preview = console.get(DO.format("fail-storage"), {"on": 3}).content.decode()
    _post(console, "fail-storage", on=3)

    assert "at stake of" in preview
    assert StorageServer.objects.get(pk=3).priority == Priority.HIGH
    _post(console, "fail-storage", on=3, phrase="ssvr-00000003")
    assert StorageServer.objects.get(pk=3).priority == Priority.OFFLINE


def test_a_list_action_leads_to_the_preview(well: None, console: Client) -> None:
    chosen = [_detached().pk, _attached().pk]

    answer = console.post(
        "/admin/volumes/logicalvolume/", {"action": "detach", "_selected_action": chosen}
    )

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/console/do/detach/?on=")


def test_the_way_back_never_leads_elsewhere(well: None, console: Client) -> None:
    chosen = {"on": [1, 2], "back": "https://elsewhere.example/", "phrase": "all 2"}

    answer = console.post(DO.format("fail-head"), chosen)

    assert answer["Location"] == "/admin/inventory/headserver/"
    assert HeadServer.objects.get(pk=1).priority == Priority.OFFLINE


def test_maintenance_takes_minutes_and_can_be_ended(well: None, console: Client) -> None:
    _post(console, "maintain-storage", on=2, minutes=30)
    job = Job.objects.get(kind=Job.Kind.MAINTENANCE)
    assert (job.server_id, job.actor) == (2, "root")

    page = _post(console, "end-maintenance", on=job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELED
    assert f"Job {job.pk}: leave" in page


def test_an_evacuation_rests_and_goes_on(well: None, console: Client) -> None:
    _post(console, "evacuate-disk", on=1)
    job = Job.objects.get(kind=Job.Kind.EVACUATE)

    _post(console, "pause-job", on=job.pk)
    job.refresh_from_db()
    assert job.paused
    _post(console, "resume-job", on=job.pk)
    job.refresh_from_db()
    assert not job.paused


def test_what_is_drained_returns_to_service(well: None, console: Client) -> None:
    page_of_it = "/admin/inventory/storageserver/2/change/"
    assert "return-storage" not in console.get(page_of_it).content.decode()
    _post(console, "evacuate-storage", on=2)
    assert "return-storage/?on=2" in console.get(page_of_it).content.decode()
    Disk.objects.filter(pk=Disk.objects.filter(server=2).earliest("pk").pk).update(
        priority=Priority.FAULTY
    )

    preview = console.get(DO.format("return-storage"), {"on": 2}).content.decode()
    assert "its evacuation ends" in preview
    assert "nothing new lands on some of its disks" in preview
    _post(console, "return-storage", on=2)

    assert StorageServer.objects.get(pk=2).priority == Priority.HIGH
    assert Job.objects.get(kind=Job.Kind.EVACUATE).state == Job.State.CANCELED
    assert AuditEntry.objects.get(verb="return_to_service").actor == "root"


def test_shutdown_tells_why_it_cannot_be(well: None, console: Client) -> None:
    page = console.get(DO.format("shutdown"), {"on": 1}).content.decode()

    assert "volumes are attached" in page
    assert "nothing can be done" in page


def test_a_new_volume_is_where_the_preview_said(well: None, console: Client) -> None:
    wanted: dict[str, str | int] = {"name": "fresh", "capacity_gb": 25, "redundancy": 3, "tags": ""}

    preview = console.get(
        "/admin/console/volumes/new/preview/", wanted, headers=PART
    ).content.decode()
    console.post("/admin/console/volumes/new/", wanted)

    volume = LogicalVolume.objects.get(name="fresh")
    for replica in volume.mirrors.get(offset_gb=0).replicas.select_related("extent__disk"):
        assert str(replica.extent.disk) in preview


def test_the_preview_writes_nothing_and_says_why_not(well: None, console: Client) -> None:
    before = LogicalVolume.objects.count()

    page = console.get(
        "/admin/console/volumes/new/preview/",
        {"name": "huge", "capacity_gb": "1048576", "redundancy": "9"},
        headers=PART,
    ).content.decode()

    assert "no room for 1048576 GiB in 9 replicas" in page
    assert LogicalVolume.objects.count() == before


@pytest.mark.parametrize("name", ["", "a b", "../x", "lvol-00000001", "x" * 65, "mail-00000"])
def test_a_bad_name_is_refused_where_it_was_typed(well: None, console: Client, name: str) -> None:
    answer = console.post(
        "/admin/console/volumes/new/", {"name": name, "capacity_gb": 5, "redundancy": 2}
    )

    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


def test_what_would_be_refused_stands_there_disabled_with_its_reason(
    well: None, console: Client
) -> None:
    attached = Attachment.objects.filter(state=Attachment.State.BOUND).earliest("pk")

    page = console.get(f"/admin/volumes/logicalvolume/{attached.volume_id}/change/")

    told = " ".join(page.content.decode().split())
    assert f"do/attach/?on={attached.volume_id}&" not in told
    _, refused = told.split('<span class="vs-button vs-refused">', 1)
    assert "Attach <small>" in refused
    assert f"do/detach/?on={attached.volume_id}&" in told


def test_a_server_that_is_renamed_is_shown_by_its_name_before_its_id(
    well: None, console: Client
) -> None:
    page = _post(console, "rename-storage", on=1, name="north-1")

    assert StorageServer.objects.get(pk=1).name == "north-1"
    assert "Storage server north-1 (ssvr-00000001)" in page
    assert "north-1 (ssvr-00000001)" in console.get(STORAGES).content.decode()


def test_a_name_that_another_server_has_is_refused_and_told(well: None, console: Client) -> None:
    StorageServer.objects.filter(pk=2).update(name="north-2")

    page = _post(console, "rename-storage", on=1, name="north-2")

    assert "another server is called north-2" in page
    assert StorageServer.objects.get(pk=1).name == ""
