"""Every method, every role, every way in: who is let in to what."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from inventory import server_rpc as inventory_rpc
from tests.access.conftest import FAR, MakeToken, basic, outcome, post
from vastsky_site.access import authorization, tokens
from vastsky_site.api import endpoint
from vastsky_site.models import ApiToken
from volumes.api import register_rpc, volume_rpc
from volumes.api import rpc as volumes_rpc

EACCES, EPROTO, EINVAL, UNAUTHORIZED = 13, 71, 22, 401
LET_IN = {EPROTO, EINVAL, 0}
"""What a call without a struct ends with once it is let in: the method looks at its parameters."""

Role = ApiToken.Role
METHODS = sorted(endpoint.server.procedures)
EVERYTHING = "everything"

DOCUMENT = {
    *inventory_rpc.PROCEDURES,
    *register_rpc.PROCEDURES,
    *volumes_rpc.PROCEDURES,
    *volume_rpc.PROCEDURES,
} - {
    "vastsky.clusterInfo",
    "vastsky.listNodes",
    "vastsky.listJobs",
    "vastsky.showJob",
    "vastsky.listOrphans",
    "vastsky.listWaiting",
    "vastsky.forceAttach",
}

READS = {
    "listLogicalVolumes",
    "showLogicalVolume",
    "listHeadServers",
    "listStorageServers",
    "listPhysicalDisks",
    "listEvents",
    "vastsky.clusterInfo",
    "vastsky.listNodes",
    "vastsky.listEvents",
    "vastsky.samples",
    "vastsky.listJobs",
    "vastsky.showJob",
    "vastsky.listOrphans",
    "vastsky.listWaiting",
    "vastsky.planEvacuation",
    "vastsky.planFailure",
    "vastsky.planVolume",
    "vastsky.capacity",
    "vastsky.listUnequalBlocks",
    "system.listMethods",
    "system.methodHelp",
    "system.methodSignature",
}
USES = {
    "createLogicalVolume",
    "createSnapshot",
    "deleteLogicalVolume",
    "attachLogicalVolume",
    "detachLogicalVolume",
    "vastsky.forceAttach",
    "vastsky.resume",
    "vastsky.evacuate",
    "vastsky.returnToService",
    "vastsky.maintenance",
    "vastsky.pauseJob",
    "vastsky.resumeJob",
    "vastsky.cancelJob",
    "vastsky.retryJob",
    "vastsky.forceJob",
    "vastsky.scrubVolume",
    "vastsky.pauseScrubs",
    "vastsky.resumeScrubs",
    "vastsky.mendBlock",
    "vastsky.listWebhooks",
    "vastsky.testWebhook",
}
AGENTS = {
    "registerHeadServer",
    "registerStorageServer",
    "registerPhysicalDisk",
    "notifyFailure",
    "notifyBadBlocks",
    "notifyShredFinished",
    "notifyRebuildMirrorFinished",
    "listHeadServers",
    "listStorageServers",
    "listPhysicalDisks",
    "vastsky.clusterInfo",
    "system.listMethods",
    "system.methodHelp",
    "system.methodSignature",
}
ALLOWED: dict[Role, set[str]] = {
    Role.READER: READS,
    Role.MONITOR: READS | {"notifyFailure", "notifyBadBlocks"},
    Role.OPERATOR: READS | USES,
    Role.AGENT: AGENTS,
    Role.ADMIN: set(METHODS),
}
"""Said a second time, apart from the table that decides."""


def with_token(role: Role, text: str, **more: str) -> dict[str, str]:
    return {"REMOTE_ADDR": FAR, "HTTP_AUTHORIZATION": basic(role, text), **more}


def revoked(role: Role, text: str) -> dict[str, str]:
    tokens.revoke_token(role)
    return with_token(role, text)


WAYS: dict[str, tuple[bool, Callable[[Role, str], dict[str, str]], str]] = {
    "loopback in development": (False, lambda *_: {"REMOTE_ADDR": "127.0.0.1"}, EVERYTHING),
    "loopback in production": (True, lambda *_: {"REMOTE_ADDR": "127.0.0.1"}, ""),
    "loopback through a proxy": (
        False,
        lambda *_: {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": FAR},
        "",
    ),
    "no token from afar": (False, lambda *_: {"REMOTE_ADDR": FAR}, ""),
    "a token in production": (True, with_token, "role"),
    "a token on loopback": (
        False,
        lambda role, text: with_token(role, text, REMOTE_ADDR="127.0.0.1"),
        "role",
    ),
    "a token through a proxy": (
        True,
        lambda role, text: with_token(role, text, HTTP_X_FORWARDED_FOR="10.9.9.9"),
        "role",
    ),
    "a token in a page": (
        False,
        lambda role, text: with_token(role, text, HTTP_ORIGIN="https://evil.example"),
        "",
    ),
    "a revoked token": (True, revoked, ""),
    "a revoked token on loopback": (
        False,
        lambda role, text: {**revoked(role, text), "REMOTE_ADDR": "127.0.0.1"},
        "",
    ),
}
WITHOUT_A_TOKEN = {way for way in WAYS if way.startswith(("loopback", "no token"))}
"""There all roles are alike, and one of them is tried."""


def test_the_matrix_knows_the_22_methods_of_the_document() -> None:
    assert len(DOCUMENT) == 22
    assert set(METHODS) == READS | USES | AGENTS | {
        "deletePhysicalDisk",
        "deleteHeadServer",
        "deleteStorageServer",
        "shutdownAll",
        "vastsky.moveServer",
        "vastsky.renameServer",
        "vastsky.forgetNode",
        "vastsky.listTokens",
        "vastsky.createToken",
        "vastsky.revokeToken",
        "vastsky.addWebhook",
        "vastsky.removeWebhook",
    }


def test_the_page_tells_the_methods_of_each_role() -> None:
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| (.*`.*) \|$", page, re.MULTILINE))
    told = {role: set(re.findall(r"`([\w.]+)`", rows[role])) for role in Role}

    only_admins = {method for method in METHODS if authorization.METHODS[method] == {Role.ADMIN}}
    assert told[Role.READER] == READS
    assert told[Role.READER] | told[Role.MONITOR] == ALLOWED[Role.MONITOR]
    assert told[Role.READER] | told[Role.OPERATOR] == ALLOWED[Role.OPERATOR]
    assert told[Role.AGENT] == AGENTS
    assert told[Role.ADMIN] == only_admins


@pytest.mark.parametrize(
    ("way", "role"),
    [
        pytest.param(way, role, id=f"{way}, {role}")
        for way in WAYS
        for role in Role
        if role == Role.ADMIN or way not in WITHOUT_A_TOKEN
    ],
)
def test_every_method_is_open_to_exactly_its_roles_and_ways_in(
    way: str, role: Role, settings: Settings, make_token: MakeToken
) -> None:
    production, headers_of, what = WAYS[way]
    if production:
        settings.VASTSKY_RPC_TRUSTED_NETWORKS = []
    headers = headers_of(role, make_token(role.value, role))
    allowed = {"": set(), "role": ALLOWED[role], EVERYTHING: set(METHODS)}[what]

    found = {method: outcome(post(method, **headers)) for method in METHODS}

    let_in = {method for method, code in found.items() if code in LET_IN}
    assert let_in == allowed
    refused = {code for method, code in found.items() if method not in allowed}
    assert refused <= ({EACCES} if what else {UNAUTHORIZED, 429})


def test_a_forbidden_method_is_refused_before_it_looks_at_its_members(
    make_token: MakeToken,
) -> None:
    headers = with_token(Role.READER, make_token("reader"))

    assert outcome(post("createLogicalVolume", {"ver": 4}, **headers)) == EACCES
    assert outcome(post("listHeadServers", {"ver": 4}, **headers)) == EPROTO


def test_a_refusal_says_the_role_and_the_method(make_token: MakeToken) -> None:
    response = post("shutdownAll", {"ver": 5}, **with_token(Role.READER, make_token("reader")))

    assert b"reader has the role reader, which has no shutdownAll" in response.content


def test_a_method_that_says_no_role_is_open_to_nobody_and_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(authorization.METHODS, "listEvents")

    assert outcome(post("listEvents", {"ver": 5}, REMOTE_ADDR="127.0.0.1")) == EACCES
    assert [message.id for message in run_checks()] == ["vastsky.E006"]


def test_a_trusted_network_in_production_is_a_warning(settings: Settings) -> None:
    settings.VASTSKY_RPC_TRUSTED_NETWORKS = [ip_network("127.0.0.0/8")]

    found: list[Any] = run_checks(tags=["security"], include_deployment_checks=True)

    assert "vastsky.W007" in {message.id for message in found}
