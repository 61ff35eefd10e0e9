"""Join strings made in the console: shown once, for admins, listed until they end, revoked."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from time_machine import travel

from agents import join_string
from agents.identity import Identity
from inventory.models import AuditEntry, Member
from vastsky_site.access import certificates

pytestmark = pytest.mark.django_db
NEW = "/admin/access/nodes/new/"
LIST = "/admin/inventory/member/"
GIVEN = {"name": "shelf-7", "roles": "storage", "hours": "2", "urls": "https://10.0.0.1:8881"}


@pytest.fixture
def _an_authority(tmp_path: Path, settings: Settings) -> None:
    certificates.issue(tmp_path, "manager", ["10.0.0.1"], may_call=True)
    files = [tmp_path / name for name in ("manager.pem", "manager.key", "authority.pem")]
    settings.VASTSKY_IDENTITY = Identity(*files)


def person(role: str) -> Client:
    user = User.objects.create_user(f"an-{role}", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(_an_authority: None) -> Client:
    return person("admin")


def line(client: Client, address: str = NEW, **given: str) -> list[str]:
    """Make a join string; the line to paste, by words."""
    page = client.post(address, {**GIVEN, **given}).content.decode()
    found = re.search(r'id="line"[^>]*>([^<]*)<', page)
    assert found, page
    return found[1].split()


def test_the_line_to_paste_has_a_string_by_which_the_machine_joins(admin: Client) -> None:
    command, verb, string, *words = line(admin)

    told = join_string.parse(string)
    assert (command, verb, words[0]) == ("vastsky-node", "join", "--storage")
    assert told.urls == ("https://10.0.0.1:8881",)
    assert Member.objects.get().roles == "storage"
    assert AuditEntry.objects.get(verb="invite_node").actor == "an-admin"


def test_a_string_is_shown_this_once_and_listed_with_its_end(admin: Client) -> None:
    string = line(admin)[2]
    with travel(datetime.now(UTC) + timedelta(hours=1)):
        waits = admin.get(LIST, {"string": "waits"}).content.decode()
    with travel(datetime.now(UTC) + timedelta(hours=3)):
        over = admin.get(LIST, {"string": "over"}).content.decode()

    assert "shelf-7" in waits
    assert "until" in waits
    assert "too old" in over
    assert string not in waits + admin.get(NEW).content.decode()


def test_a_string_that_is_revoked_lets_nobody_in(admin: Client) -> None:
    line(admin)
    row = Member.objects.get()

    admin.post("/admin/console/do/revoke-invitation/", {"on": row.pk})

    assert not Member.objects.exists()
    assert AuditEntry.objects.filter(verb="revoke_invitation", subject="node shelf-7").exists()


def test_a_node_that_joined_keeps_its_place_when_another_string_is_revoked(admin: Client) -> None:
    row = Member.objects.create(
        name="shelf-7", public_key="k", addresses="10.1.0.7", token_name="shelf-7", used_by="k"
    )
    line(admin, "/admin/access/nodes/shelf-7/rekey/")

    call_command("node", "revoke", "shelf-7")

    row.refresh_from_db()
    assert (row.secret_hash, row.public_key) == ("", "k")
    with pytest.raises(CommandError, match="no join string of node shelf-7 waits"):
        call_command("node", "revoke", "shelf-7")


def test_what_is_wrong_is_told_on_the_page(admin: Client) -> None:
    line(admin)

    again = admin.post(NEW, GIVEN).content.decode()
    plain = admin.post(NEW, {**GIVEN, "name": "b", "urls": "http://10.0.0.1"}).content.decode()

    assert "there is a node shelf-7" in again
    assert "is not of the form https://HOST:PORT" in plain
    assert Member.objects.count() == 1


def test_a_manager_without_an_authority_says_what_it_lacks(settings: Settings) -> None:
    settings.VASTSKY_IDENTITY = None

    assert "No node can join yet" in person("admin").get(NEW).content.decode()


@pytest.mark.usefixtures("_an_authority")
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_is_no_admin_makes_and_sees_none(role: str) -> None:
    client = person(role)

    assert client.post(NEW, GIVEN).status_code == 403
    assert client.get(LIST).status_code == 403
    assert not Member.objects.exists()
