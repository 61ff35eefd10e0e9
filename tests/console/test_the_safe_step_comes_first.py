"""What may cost data asks for a name and says what it costs; what is safe is offered before it."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from agents.protocol import Reason
from inventory import clock
from inventory.models import AuditEntry, Disk, Extent, HeadServer, Priority, StorageServer
from tests.console.conftest import PART
from volumes.jobs import wakeup
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.repair import failures

DO = "/admin/console/do/{}/"
LONG_AGO = timedelta(seconds=60)


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


def _offered(console: Client, page: str) -> list[str]:
    """Read the verbs that a page offers, in their order."""
    return re.findall(r"/console/do/([a-z-]+)/\?on=", console.get(page).content.decode())


def _fail_disk(console: Client, disk: Disk) -> None:
    console.post(DO.format("fail-disk"), {"on": disk.pk, "phrase": str(disk)})


def _used_disk() -> Disk:
    return Replica.objects.select_related("extent__disk").earliest("pk").extent.disk


@pytest.mark.parametrize("state", ["silent", "offline"])
def test_an_outage_offers_maintenance_first_and_what_destroys_last(
    well: None, console: Client, state: str
) -> None:
    server = StorageServer.objects.filter(pk=1)
    server.update(silent_since=clock.now() - LONG_AGO)
    if state == "offline":
        server.update(priority=Priority.OFFLINE)

    page = console.get("/admin/inventory/storageserver/1/change/").content.decode()
    offered = _offered(console, "/admin/inventory/storageserver/1/change/")
    problems = _offered(console, "/admin/console/problems/")

    assert offered[0] == "maintain-storage"
    assert problems == ["maintain-storage"]
    assert "Look at its power, its cables and its agent" in page


@pytest.mark.parametrize(
    ("verb", "row", "name"),
    [
        ("fail-storage", StorageServer(pk=1), "ssvr-00000001"),
        ("fail-disk", Disk(pk=1), "pdsk-00000001"),
        ("fail-head", HeadServer(pk=1), "hsvr-00000001"),
    ],
)
def test_declaring_failed_asks_for_the_name(
    well: None, console: Client, verb: str, row: StorageServer | Disk | HeadServer, name: str
) -> None:
    console.post(DO.format(verb), {"on": row.pk, "phrase": "something else"})
    row.refresh_from_db()
    assert row.priority == Priority.HIGH

    console.post(DO.format(verb), {"on": row.pk, "phrase": name})
    row.refresh_from_db()
    assert row.priority != Priority.HIGH


def test_deleting_a_server_names_its_disks_and_what_is_not_shredded(
    well: None, console: Client
) -> None:
    server = StorageServer.objects.create(pk=70, name="south", priority=Priority.OFFLINE)
    for pk in (701, 702):
        disk = Disk.objects.create(
            pk=pk, server=server, capacity_gb=100, local_path=f"/dev/{pk}", priority=4
        )
        Extent.objects.create(pk=90_000 + pk, disk=disk, offset_gb=0, size_gb=7, status=4)

    page = console.get(DO.format("delete-storage"), {"on": 70}).content.decode()
    console.post(DO.format("delete-storage"), {"on": 70})

    assert "2 disks are forgotten with it: south:/dev/701 (pdsk-000002bd), 100 GiB" in page
    assert "Not shredded yet" in page
    assert "7 GiB on south:/dev/701 (pdsk-000002bd), 7 GiB on south:/dev/702" in page
    assert "ssvr-00000046" in page
    assert StorageServer.objects.filter(pk=70).exists()


def test_a_disk_that_was_declared_failed_by_mistake_is_trusted_again(
    well: None, console: Client
) -> None:
    disk = _used_disk()
    page = f"/admin/inventory/disk/{disk.pk}/change/"
    assert "take-back-disk" not in _offered(console, page)

    _fail_disk(console, disk)
    on_it = Replica.objects.filter(extent__disk=disk)
    assert set(on_it.values_list("status", "reason")) == {(Replica.Status.FAULTY, "failed")}
    assert _offered(console, page)[0] == "take-back-disk"
    console.post(DO.format("take-back-disk"), {"on": disk.pk})

    disk.refresh_from_db()
    assert disk.priority == Priority.HIGH
    assert set(on_it.values_list("status", "reason")) == {(Replica.Status.FAULTY, "silent")}
    assert "take-back-disk" not in _offered(console, page)
    told = AuditEntry.objects.get(verb="take_back_failure")
    assert (told.actor, told.subject) == ("root", str(disk))


def test_a_server_that_was_declared_failed_keeps_its_replicas_but_those_of_a_bad_disk(
    well: None, console: Client
) -> None:
    disk = _used_disk()
    console.post(DO.format("fail-disk"), {"on": disk.pk, "phrase": str(disk)})
    server = disk.server
    console.post(DO.format("fail-storage"), {"on": server.pk, "phrase": str(server)})

    console.post(DO.format("take-back-storage"), {"on": server.pk})

    for replica in Replica.objects.filter(server=server).select_related("extent"):
        assert replica.reason == ("failed" if replica.extent.disk_id == disk.pk else "silent")
    server.refresh_from_db()
    assert server.priority == Priority.OFFLINE  # until it registers


def test_what_a_server_itself_reported_is_not_taken_back(well: None, console: Client) -> None:
    disk = _used_disk()
    _fail_disk(console, disk)
    Replica.objects.filter(extent__disk=disk).update(reason="disk")

    page = console.get(DO.format("take-back-disk"), {"on": disk.pk}).content.decode()

    assert "its server reported that it fails" in page
    assert "nothing can be done" in page


def test_a_volume_that_waits_leads_to_the_servers_it_waits_for(well: None, console: Client) -> None:
    bound = Attachment.objects.filter(state=Attachment.State.BOUND).select_related("volume")
    volume = bound.earliest("pk").volume
    LogicalVolume.objects.filter(pk=volume.pk).update(waiting_since=clock.now())
    server = Replica.objects.filter(mirror__volume=volume).earliest("pk").server_id
    StorageServer.objects.filter(pk=server).update(silent_since=clock.now())

    page = console.get("/admin/console/problems/live/", headers=PART).content.decode()

    assert f"Look at ssvr-{server:08x}" in page
    assert "Look at hsvr-" in page


def test_a_server_that_is_out_already_is_declared_failed_where_its_return_is_waited_for(
    well: None, console: Client
) -> None:
    page = "/admin/inventory/storageserver/1/change/"
    failures.fail_storage(1, Reason.SILENT)
    waited = Replica.objects.filter(server=1, status=Replica.Status.FAULTY)
    count = waited.count()

    assert "fail-storage" in _offered(console, page)
    asked = console.get(DO.format("fail-storage"), {"on": 1}).content.decode()
    console.post(DO.format("fail-storage"), {"on": 1, "phrase": "ssvr-00000001"})

    assert f"{count} replicas it left behind are replaced at once" in asked
    assert set(waited.values_list("reason", flat=True)) == {"failed"}
    assert "fail-storage" not in _offered(console, page)
