"""Tokens: shown once, kept as a hash, right or 401, and slow to guess."""

import base64
import xmlrpc.client
from datetime import UTC, datetime
from io import BytesIO, StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from inventory.errors import Exists, Invalid, NotFound
from inventory.models import AuditEntry
from tests.access.conftest import FAR, MakeToken, basic, outcome, post
from vastsky_site.access import tokens
from vastsky_site.access.lockout import Attempts
from vastsky_site.api import endpoint
from vastsky_site.models import ApiToken

FIVE = {"ver": 5}


def knock(authorization: str, peer: str = FAR) -> int:
    headers = {"HTTP_AUTHORIZATION": authorization}
    return outcome(post("listHeadServers", FIVE, REMOTE_ADDR=peer, **headers))


def manage(*words: str) -> str:
    out = StringIO()
    call_command("token", *words, stdout=out)
    return out.getvalue()


def test_a_token_lets_in_and_its_text_is_nowhere(make_token: MakeToken) -> None:
    text = make_token()

    assert knock(basic("program", text)) == 0
    row = ApiToken.objects.values_list().get()
    assert not any(text in str(value) or text[8:] in str(value) for value in row)


@pytest.mark.parametrize("peer", [FAR, "127.0.0.1"])
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"\xff:x").decode(),
        "Basic " + base64.b64encode(b"program").decode(),
        basic("program", ""),
        basic("program", "wrong"),
        basic("", "wrong"),
        "Bearer wrong",
    ],
)
def test_what_is_presented_has_to_be_right_even_on_loopback(
    make_token: MakeToken, authorization: str, peer: str
) -> None:
    make_token()

    assert knock(authorization, peer) == 401


def test_the_name_has_to_be_the_tokens(make_token: MakeToken) -> None:
    assert knock(basic("other", make_token())) == 401


def test_the_database_alone_makes_no_token(make_token: MakeToken, settings: Any) -> None:
    text = make_token()
    settings.SECRET_KEY = "another cluster's"

    assert knock(basic("program", text)) == 401
    assert knock(basic("program", ApiToken.objects.get().digest)) == 401


def test_a_wrong_token_is_refused_before_the_body_is_read(make_token: MakeToken) -> None:
    class Untouchable(BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body was read")

    request: Any = RequestFactory().generic("POST", "/RPC2", "x")
    request.META["HTTP_AUTHORIZATION"] = basic("program", "wrong")
    request._stream.stream = Untouchable()

    assert endpoint.endpoint(request).status_code == 401


def test_last_use_is_noted_once_a_minute_and_costs_one_query_otherwise(
    make_token: MakeToken,
) -> None:
    text = make_token()
    with time_machine.travel(datetime(2026, 5, 1, 12, 0, 5, tzinfo=UTC), tick=False) as clock:
        knock(basic("program", text))
        first = ApiToken.objects.get().last_used
        clock.shift(40)
        with CaptureQueriesContext(connection) as queries:
            assert (
                outcome(post("system.listMethods", HTTP_AUTHORIZATION=basic("program", text))) == 0
            )
        assert len(queries) == 1
        assert ApiToken.objects.get().last_used == first
        clock.shift(40)
        knock(basic("program", text))

    assert ApiToken.objects.get().last_used == datetime(2026, 5, 1, 12, 1, 25, tzinfo=UTC)


def test_who_is_wrong_too_often_waits_and_others_do_not(make_token: MakeToken) -> None:
    right = basic("program", make_token())

    codes = [knock(basic("program", f"guess {n}")) for n in range(25)]

    assert codes == [401] * 20 + [429] * 5
    assert knock(right) == 429
    assert knock(right, "10.0.0.8") == 0


def test_a_whole_ipv6_network_is_one_guesser(make_token: MakeToken) -> None:
    make_token()
    for n in range(20):
        knock(basic("program", "guess"), f"2001:db8::{n + 1:x}")

    assert knock(basic("program", "guess"), "2001:db8::ffff") == 429
    assert knock(basic("program", "guess"), "2001:db8:0:1::1") == 401


def test_failures_are_forgotten_with_time_and_beyond_the_bound() -> None:
    now = [0.0]
    attempts = Attempts(most=2, seconds=60, keys=3, clock=lambda: now[0])
    for key in ["a", "a", "b"]:
        attempts.fail(key)
    assert (attempts.wait("a"), attempts.wait("b")) == (60, 0)

    now[0] = 61
    assert attempts.wait("a") == 0
    attempts.fail("a")
    assert attempts.wait("a") == 0

    for key in "cdefgh":
        attempts.fail(key)
    assert len(attempts._failures) == 3


def test_a_database_that_fails_is_503_and_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseError("secret")

    monkeypatch.setattr(tokens, "find_token", fail)
    response = post("listEvents", FIVE, HTTP_AUTHORIZATION=basic("a", "b"))

    assert response.status_code == 503
    assert b"secret" not in response.content
    with pytest.raises(xmlrpc.client.Fault):
        xmlrpc.client.loads(response.content)


def test_what_a_token_does_is_written_down_under_its_name(make_token: MakeToken) -> None:
    headers = {"HTTP_AUTHORIZATION": basic("ops", make_token("ops", "admin"))}

    post("registerHeadServer", {"ver": 5, "ip_data": ["10.1.1.1"]}, **headers)

    row = AuditEntry.objects.latest("pk")
    assert (row.actor, row.way, row.verb) == ("ops", "rpc", "register_head")


# -- made, listed, revoked ------------------------------------------------------------------------


def test_the_command_makes_lists_and_revokes(db: None) -> None:
    text = manage("create", "backup", "--role", "operator").strip()
    assert knock(basic("backup", text)) == 0
    assert "operator used" in manage("list")
    assert text not in manage("list")

    manage("revoke", "backup")

    assert knock(basic("backup", text)) == 401
    assert "revoked" in manage("list")
    verbs = list(AuditEntry.objects.order_by("pk").values_list("verb", "subject", "way"))
    assert verbs == [
        ("create_token", "token backup", "system"),
        ("revoke_token", "token backup", "system"),
    ]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("create", "a b", "--role", "reader"), "a token's name"),
        (("create", "agent", "--role", "agent", "--storage", "9"), "no ssvr-00000009"),
        (("create", "agent", "--role", "agent", "--head", "9"), "no hsvr-00000009"),
        (("create", "x", "--role", "reader", "--head", "9"), "only an agent's"),
        (("revoke", "nobody"), "no token nobody"),
    ],
)
def test_the_command_says_why_not(db: None, words: tuple[str, ...], refusal: str) -> None:
    with pytest.raises(CommandError, match=refusal):
        manage(*words)
    assert not ApiToken.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_name_is_never_used_again(make_token: MakeToken) -> None:
    make_token()
    tokens.revoke_token("program")

    with pytest.raises(Exists):
        make_token()


def test_revoking_twice_is_one_row_and_an_unknown_token_is_said(make_token: MakeToken) -> None:
    make_token()
    for _ in range(2):
        tokens.revoke_token("program")

    assert AuditEntry.objects.filter(verb="revoke_token").count() == 1
    with pytest.raises(NotFound):
        tokens.revoke_token("other")


def test_a_role_that_does_not_exist_is_invalid(make_token: MakeToken) -> None:
    with pytest.raises(Invalid):
        make_token(role="root")
