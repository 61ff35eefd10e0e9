"""The console shows each setting with what it does and who set it, and no secret."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from vastsky_site.settings_table import SETTINGS

pytestmark = pytest.mark.django_db
SECRET = "between-you-and-me"


@pytest.fixture
def viewer() -> Client:
    user = User.objects.create_user("a-viewer", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name="viewer")[0])
    client = Client()
    client.force_login(user)
    return client


def read(client: Client, only: str = "") -> str:
    answer = client.get("/admin/settings/", {"only": only})
    assert answer.status_code == 200
    return " ".join(re.sub("<[^>]*>", " ", answer.content.decode()).split())


def test_every_setting_is_there_with_what_it_does(viewer: Client) -> None:
    page = read(viewer)

    for setting in SETTINGS:
        assert setting.name in page
        assert setting.meaning.split("'")[0][:40] in page


def test_who_set_a_value_is_told_beside_its_default(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASTSKY_OFFLINE_SECONDS", "77")

    page = read(viewer, only="set")

    assert "VASTSKY_OFFLINE_SECONDS ↻ environment 77 seconds" in page
    assert "default" in page
    assert "VASTSKY_SCRUB_DAYS" not in page


def test_secrets_are_shown_to_nobody(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        if setting.secret:
            monkeypatch.setenv(setting.name, SECRET)

    page = read(viewer)

    assert SECRET not in page
    assert page.count("set, and shown to nobody") == sum(one.secret for one in SETTINGS)


def test_who_has_no_role_sees_no_settings() -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))

    assert client.get("/admin/settings/").status_code == 403
