"""Viewers look, operators use volumes, admins look after servers; others see nothing."""

import pytest
from django.test import Client

from tests.console.conftest import SignIn
from volumes.models import LogicalVolume

PAGES = ["/admin/console/problems/", "/admin/console/cluster/", "/admin/volumes/logicalvolume/"]
OPERATES = "/admin/console/do/detach/?on=1"
ADMINISTERS = "/admin/console/do/fail-storage/?on=1"


@pytest.mark.parametrize("page", [*PAGES, OPERATES, ADMINISTERS])
def test_a_stranger_is_sent_to_the_login(well: None, page: str) -> None:
    answer = Client().get(page)

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_a_role_sees_nothing(well: None, sign_in: SignIn, page: str) -> None:
    client = sign_in("")

    assert client.get(page).status_code == 403
    assert "no role" in client.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("role", "operates", "administers"),
    [("viewer", 403, 403), ("operator", 200, 403), ("admin", 200, 200)],
)
def test_each_role_includes_the_one_before(
    well: None, sign_in: SignIn, role: str, operates: int, administers: int
) -> None:
    client = sign_in(role)

    assert [client.get(page).status_code for page in PAGES] == [200] * 3
    assert client.get(OPERATES).status_code == operates
    assert client.get("/admin/console/volumes/new/").status_code == operates
    assert client.get(ADMINISTERS).status_code == administers


def test_a_viewer_is_offered_no_action(well: None, sign_in: SignIn) -> None:
    client = sign_in("viewer")

    for page in ("/admin/volumes/logicalvolume/", "/admin/volumes/logicalvolume/1/change/"):
        assert "/console/do/" not in client.get(page).content.decode()
    assert "Detach ..." not in client.get("/admin/volumes/logicalvolume/").content.decode()


def test_a_viewer_cannot_act_by_sending_the_form_anyway(well: None, sign_in: SignIn) -> None:
    volume = LogicalVolume.objects.filter(attachment=None, origin=None).earliest("pk")

    answer = sign_in("viewer").post(
        "/admin/console/do/delete-volume/", {"on": volume.pk, "phrase": volume.name}
    )

    assert answer.status_code == 403
    assert LogicalVolume.objects.filter(pk=volume.pk).exists()


def test_nobody_edits_rows_by_the_admins_own_ways(well: None, console: Client) -> None:
    assert console.get("/admin/volumes/logicalvolume/add/").status_code == 403
    assert console.get("/admin/volumes/logicalvolume/1/delete/").status_code == 403
