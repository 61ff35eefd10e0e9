"""A problem that somebody knows of is told apart, with a name, a reason and an end."""

from datetime import timedelta

import pytest
from django.test import Client

from inventory import clock
from inventory.models import AuditEntry, Disk, Priority, StorageServer
from tests.console.conftest import SignIn
from volumes.models import Acknowledgement, Replica

PROBLEMS = "/admin/console/problems/"
ACKNOWLEDGE = "/admin/console/problems/acknowledge/"
KEY = "disk-1"


@pytest.fixture
def broken_disk(well: None) -> None:
    Disk.objects.filter(pk=1).update(priority=Priority.FAULTY)


def _acknowledge(who: Client, **more: object) -> None:
    form = {"key": KEY, "reason": "a new one is ordered", "hours": 24, **more}
    assert who.post(ACKNOWLEDGE, form).status_code == 302


def _told(who: Client, path: str = PROBLEMS) -> str:
    return " ".join(who.get(path).content.decode().split())


def test_who_why_and_until_when_stand_on_it(broken_disk: None, sign_in: SignIn) -> None:
    operator = sign_in("operator")
    assert f"acknowledge/?key={KEY}" in _told(operator)

    _acknowledge(operator)

    row = Acknowledgement.objects.get()
    page = _told(operator)
    until = f"Acknowledged by operator-of-test until {row.until:%Y-%m-%d %H:%M} UTC"
    assert f"{until}: a new one is ordered" in page
    assert "Nothing else is wrong" in page
    assert "1 acknowledged" in _told(operator, "/admin/")
    assert AuditEntry.objects.filter(verb="acknowledge", actor="operator-of-test").count() == 1


def test_it_is_told_again_once_its_time_is_over_or_somebody_says_so(
    broken_disk: None, console: Client
) -> None:
    _acknowledge(console)
    Acknowledgement.objects.update(until=clock.now() - timedelta(minutes=1))
    assert "Nothing else is wrong" not in _told(console)

    _acknowledge(console)
    console.post("/admin/console/problems/tell-again/", {"key": KEY})
    assert "Nothing else is wrong" not in _told(console)
    assert not Acknowledgement.objects.exists()


def test_it_is_told_again_once_it_gets_worse(well: None, console: Client) -> None:
    StorageServer.objects.filter(pk=2).update(priority=Priority.OFFLINE)
    _acknowledge(console, key="storageserver-2")
    assert "Nothing else is wrong" in _told(console)

    Replica.objects.filter(server=2).update(status=Replica.Status.FAULTY, reason="silent")

    assert "Nothing else is wrong" not in _told(console)


def test_what_endangers_data_is_in_the_verdict_although_it_is_known(
    well: None, console: Client
) -> None:
    Disk.objects.filter(pk=1).update(priority=Priority.FAULTY)
    mirror = Replica.objects.filter(extent__disk=1).earliest("pk").mirror
    Replica.objects.filter(extent__disk=1).update(status=Replica.Status.FAULTY, reason="disk")
    for replica in mirror.replicas.exclude(extent__disk=1).order_by("pk")[1:]:
        Replica.objects.filter(pk=replica.pk).update(status=Replica.Status.FAULTY, reason="io")

    _acknowledge(console)

    assert "Data is at risk" in _told(console, "/admin/")


@pytest.mark.parametrize("wrong", [{"reason": "  "}, {"hours": 0}, {"hours": 721}])
def test_a_reason_and_an_end_are_asked_for(
    broken_disk: None, console: Client, wrong: dict[str, object]
) -> None:
    form = {"key": KEY, "reason": "it is known", "hours": 24, **wrong}

    assert console.post(ACKNOWLEDGE, form).status_code == 200
    assert not Acknowledgement.objects.exists()


def test_a_viewer_acknowledges_nothing(broken_disk: None, sign_in: SignIn) -> None:
    viewer = sign_in("viewer")

    assert "acknowledge/?key" not in _told(viewer)
    form = {"key": KEY, "reason": "it is known", "hours": 24}
    assert viewer.post(ACKNOWLEDGE, form).status_code == 403
    assert viewer.post("/admin/console/problems/tell-again/", {"key": KEY}).status_code == 403


def test_what_is_not_wrong_cannot_be_acknowledged(well: None, console: Client) -> None:
    _acknowledge(console)

    assert not Acknowledgement.objects.exists()
