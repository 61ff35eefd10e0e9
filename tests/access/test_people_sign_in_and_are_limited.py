"""The login's limits, strict browsers, roles, and the pages of access in the console."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from inventory import audit, registration
from inventory.audit import Action, Entrance
from inventory.models import AuditEntry
from tests.access.conftest import FAR, MakeToken
from vastsky_site.access import login, tokens
from vastsky_site.models import ApiToken
from volumes.console.frame.csv_export import harmless
from volumes.models import Job

LOGIN = "/admin/login/"
LOG = "/admin/inventory/auditentry/"
TOKENS = "/admin/vastsky_site/apitoken/"
NEW_TOKEN = "/admin/access/tokens/new/"
PEOPLE = "/admin/auth/user/"

SignIn = Callable[[str], Client]


@pytest.fixture(autouse=True)
def _nobody_guessed(settings: Settings) -> Iterator[None]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    login.guesses.clear()
    login.sprays.clear()
    yield
    login.guesses.clear()
    login.sprays.clear()


@pytest.fixture
def person(db: None) -> SignIn:
    """Sign in somebody with a role, or "superuser"."""

    def signed_in(role: str) -> Client:
        user = User.objects.create_user(role, is_staff=True, is_superuser=role == "superuser")
        if role != "superuser":
            user.groups.add(Group.objects.get_or_create(name=role)[0])
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="right", is_staff=True)


def log_in(name: str, password: str, peer: str = FAR) -> Any:
    words = {"username": name, "password": password}
    return Client().post(LOGIN, words, REMOTE_ADDR=peer)


# -- the login ------------------------------------------------------------------------------------


def test_after_five_failures_even_the_right_password_waits(alice: User) -> None:
    for _ in range(5):
        assert b"Too many" not in log_in("alice", "wrong").content

    answer = log_in("Alice", "right")
    assert answer.status_code == 200
    assert b"Too many failed attempts. Try again in 15 min." in answer.content


def test_somebody_elsewhere_locks_nobody_out(alice: User) -> None:
    for _ in range(6):
        log_in("alice", "wrong")

    assert log_in("alice", "right", "10.0.0.8").status_code == 302


def test_the_right_password_starts_afresh(alice: User) -> None:
    for password in ["wrong"] * 4 + ["right"] + ["wrong"] * 4:
        log_in("alice", password)

    assert log_in("alice", "right").status_code == 302


def test_one_password_on_many_names_waits_too(alice: User) -> None:
    for number in range(50):
        log_in(f"somebody-{number}", "right")

    assert b"Too many" in log_in("alice", "right").content


# -- browsers -------------------------------------------------------------------------------------


def test_every_page_keeps_the_browser_strict(person: SignIn) -> None:
    for answer in (Client().get(LOGIN), person("admin").get("/admin/")):
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["X-Content-Type-Options"] == "nosniff"


def test_cookies_are_strict_and_no_scripts_business(alice: User, settings: Settings) -> None:
    answer = log_in("alice", "right")

    for cookie in answer.cookies.values():
        assert cookie["samesite"] == "Strict"
        assert cookie["httponly"]
    session = answer.cookies[settings.SESSION_COOKIE_NAME]
    assert session["max-age"] == 12 * 3600


# -- people ---------------------------------------------------------------------------------------


def test_the_three_roles_exist_from_the_start(db: None) -> None:
    assert set(Group.objects.values_list("name", flat=True)) >= {"viewer", "operator", "admin"}


@pytest.mark.parametrize("page", [TOKENS, NEW_TOKEN, PEOPLE])
@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("operator", 403), ("admin", 200), ("superuser", 200)]
)
def test_admins_look_after_people_and_tokens(
    person: SignIn, page: str, role: str, status: int
) -> None:
    assert person(role).get(page).status_code == status


def test_giving_somebody_a_role_is_written_down(person: SignIn, alice: User) -> None:
    role = Group.objects.get(name="operator")
    client = person("admin")
    form = {"username": "alice", "is_active": "on", "groups": [role.pk]}

    assert client.post(f"{PEOPLE}{alice.pk}/change/", form).status_code == 302

    row = AuditEntry.objects.get()
    assert (row.actor, row.way, row.verb, row.subject) == (
        "admin",
        "console",
        "change_user",
        "user alice",
    )
    assert "Roles: operator; may sign in." in row.detail


def test_a_person_is_added_and_deleted_and_both_are_written_down(person: SignIn) -> None:
    client = person("admin")
    words = {"password1": "quite-long-enough", "password2": "quite-long-enough"}
    client.post(f"{PEOPLE}add/", {"username": "bob", "usable_password": "true", **words})
    bob = User.objects.get(username="bob")
    assert bob.is_staff

    client.post(f"{PEOPLE}{bob.pk}/delete/", {"post": "yes"})

    assert not User.objects.filter(username="bob").exists()
    verbs = AuditEntry.objects.order_by("pk").values_list("verb", "subject")
    assert list(verbs) == [("add_user", "user bob"), ("delete_user", "user bob")]


def test_a_new_password_is_written_down_without_it(person: SignIn, alice: User) -> None:
    words = {"password1": "quite-long-enough", "password2": "quite-long-enough"}
    form = {"usable_password": "true", "set-password": "1", **words}

    person("admin").post(f"{PEOPLE}{alice.pk}/password/", form)

    alice.refresh_from_db()
    assert alice.check_password("quite-long-enough")
    row = AuditEntry.objects.get()
    assert row.verb == "change_user"
    assert "quite" not in row.detail


def test_an_admin_is_no_way_to_a_superuser(person: SignIn, alice: User) -> None:
    root = User.objects.create_superuser("root", password="rooted")
    client = person("admin")

    client.post(
        f"{PEOPLE}{alice.pk}/change/",
        {"username": "alice", "is_active": "on", "is_superuser": "on"},
    )
    alice.refresh_from_db()
    assert not alice.is_superuser
    for page in ("change", "password", "delete"):
        assert client.post(f"{PEOPLE}{root.pk}/{page}/", {"post": "yes"}).status_code == 403


# -- tokens ---------------------------------------------------------------------------------------


def test_a_token_is_made_in_the_console_and_shown_once(person: SignIn) -> None:
    client = person("admin")

    answer = client.post(NEW_TOKEN, {"name": "backup", "role": "reader"})

    text = answer.content.decode().split('id="token">')[1].split("<")[0]
    found = tokens.find_token("backup", text)
    assert found
    assert found.created_by == "admin"
    assert "no-store" in answer["Cache-Control"]
    for page in (TOKENS, f"{TOKENS}{found.pk}/change/", LOG):
        page_text = client.get(page).content.decode()
        assert text not in page_text
        assert found.digest not in page_text
    assert AuditEntry.objects.get().way == "console"


def test_what_is_wrong_with_a_token_is_said_in_the_form(person: SignIn) -> None:
    answer = person("admin").post(NEW_TOKEN, {"name": "a b", "role": "reader"})

    assert "name is 1 to 64" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_in_the_console(person: SignIn, make_token: MakeToken) -> None:
    text = make_token()
    row = ApiToken.objects.get()
    client = person("admin")
    act = "/admin/console/do/revoke-token/"
    assert "refused from its next call" in client.get(f"{act}?on={row.pk}").content.decode()

    client.post(act, {"on": row.pk})

    assert tokens.find_token("program", text) is None
    assert AuditEntry.objects.latest("pk").actor == "admin"


def test_an_operator_revokes_nothing(person: SignIn, make_token: MakeToken) -> None:
    make_token()
    row = ApiToken.objects.get()

    answer = person("operator").post("/admin/console/do/revoke-token/", {"on": row.pk})

    assert answer.status_code == 403


# -- the audit log --------------------------------------------------------------------------------


def write(verb: Action, subject: str, actor: str = "alice", detail: str = "") -> None:
    with transaction.atomic(), audit.acting_as(actor, Entrance.CONSOLE):
        audit.record(verb, subject, detail)


def test_the_log_is_filtered_and_searched(person: SignIn) -> None:
    write(Action.ATTACH, "lvol-0000001f", "alice", "to the moon")
    write(Action.DETACH, "lvol-00000020", "bob", "from the sea")
    client = person("viewer")

    for query in (
        "verb=attach",
        "actor=alice",
        "q=lvol-0000001f",
        "q=moon",
        "subject=lvol-0000001f",
    ):
        page = client.get(f"{LOG}?{query}").content.decode()
        assert "to the moon" in page, query
        assert "from the sea" not in page, query
    assert "to the moon" in client.get(f"{LOG}?way__exact=console").content.decode()
    assert "to the moon" not in client.get(f"{LOG}?way__exact=rpc").content.decode()
    assert "to the moon" not in client.get(f"{LOG}?at__lt=2020-01-01T00:00:00Z").content.decode()


def test_the_log_costs_the_same_at_any_length(person: SignIn) -> None:
    client = person("viewer")
    counts = []
    for _ in range(2):
        for number in range(40):
            write(Action.ATTACH, f"lvol-{number:08x}", f"user-{number}")
        with CaptureQueriesContext(connection) as queries:
            client.get(LOG)
        counts.append(len(queries))

    assert counts[0] == counts[1] < 15


def test_the_log_leaves_as_csv_that_no_spreadsheet_runs(person: SignIn) -> None:
    write(Action.ATTACH, "lvol-0000001f", "=cmd|' /C calc'!A0", 'a,b\n"c"')
    write(Action.DETACH, "lvol-0000001f")

    answer = person("viewer").get(f"{LOG}csv/?verb=attach")

    assert answer.streaming
    assert answer["Content-Type"].startswith("text/csv")
    text = answer.getvalue().decode()
    head, row = csv.reader(io.StringIO(text, newline=""))
    assert head == ["at", "actor", "way", "verb", "subject", "detail"]
    assert row[1:] == ["'=cmd|' /C calc'!A0", "console", "attach", "lvol-0000001f", 'a,b\n"c"']


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_a_formula_is_a_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless("lvol") == "lvol"


def test_nobody_changes_the_log_or_reads_it_unasked(person: SignIn) -> None:
    write(Action.ATTACH, "lvol-0000001f")
    row = AuditEntry.objects.get()

    assert Client().get(f"{LOG}csv/").status_code == 302
    client = person("superuser")
    assert client.get(f"{LOG}add/").status_code == 403
    for page in ("delete", "change"):
        assert client.post(f"{LOG}{row.pk}/{page}/", {"post": "yes"}).status_code == 403


def test_what_a_person_does_is_written_down_under_their_name(person: SignIn) -> None:
    head = registration.register_head(addresses=["10.1.1.1"])
    AuditEntry.objects.all().delete()

    said = {"on": head.pk, "phrase": str(head)}
    person("admin").post("/admin/console/do/fail-head/", said)

    row = AuditEntry.objects.get()
    assert (row.actor, row.way, row.verb) == ("admin", "console", "fail_head")
    assert not Job.objects.exists()
