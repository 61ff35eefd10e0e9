"""What is in quarantine is released in the console, by whoever types its name."""

import pytest
from django.test import Client

from inventory.models import AuditEntry, Disk, Extent
from tests.console.conftest import SignIn
from volumes.jobs import wakeup
from volumes.models import Job, Orphan

DO = "/admin/console/do/release-orphan/"
LIST = "/admin/volumes/orphan/"


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


@pytest.fixture
def kept(well: None) -> Orphan:
    """A replica of a volume, the rest of which nobody holds."""
    free = Extent.objects.filter(status=Extent.Status.FREE).earliest("pk")
    Extent.objects.filter(pk=free.pk).update(status=Extent.Status.FAULTY)
    disk = Disk.objects.get(pk=free.disk_id)
    return Orphan.objects.create(
        kind=Orphan.Kind.REPLICA,
        server=disk.server_id,
        lvolid=9000,
        epoch=1,
        dextid=free.pk,
        disk=disk.disk_uuid or disk.local_path,
        at_gb=free.offset_gb,
        name="half",
        reason="nothing holds its GB 0",
    )


def _space(orphan: Orphan) -> Extent:
    return Extent.objects.get(pk=orphan.dextid)


def test_it_is_previewed_and_the_name_has_to_be_typed(kept: Orphan, console: Client) -> None:
    preview = console.get(DO, {"on": kept.pk}).content.decode()
    console.post(DO, {"on": kept.pk, "phrase": "something else"})

    assert "gone for ever" in preview
    assert "half" in preview
    assert Orphan.objects.exists()
    assert _space(kept).status == Extent.Status.FAULTY

    console.post(DO, {"on": kept.pk, "phrase": "half"})

    assert not Orphan.objects.exists()
    assert _space(kept).status == Extent.Status.OFFLINE
    job = Job.objects.get(kind=Job.Kind.SHRED, state=Job.State.OPEN, extent=kept.dextid)
    assert job.forced
    entry = AuditEntry.objects.get(verb="release_quarantine")
    assert (entry.actor, entry.subject) == ("root", "lvol-00002328")
    assert f"dext-{kept.dextid:08x}" in entry.detail


def test_what_runs_or_is_exported_is_not_released(kept: Orphan, console: Client) -> None:
    other = Orphan.objects.create(kind=Orphan.Kind.GROUP, server=1, lvolid=9001, epoch=1)

    page = console.get(DO, {"on": other.pk}).content.decode()
    console.post(DO, {"on": other.pk, "phrase": str(other)})

    assert "not in quarantine" in page
    assert Orphan.objects.filter(pk=other.pk).exists()


def test_the_list_offers_it_to_administrators_alone(kept: Orphan, sign_in: SignIn) -> None:
    offered = "Release from quarantine ..."

    assert offered in sign_in("admin").get(LIST).content.decode()
    assert offered not in sign_in("operator").get(LIST).content.decode()
    assert sign_in("viewer").post(DO, {"on": kept.pk, "phrase": "half"}).status_code in {403, 404}
    assert Orphan.objects.exists()
