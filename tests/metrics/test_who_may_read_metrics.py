"""/metrics is open to nobody by default: a token that reads, or a network that somebody named."""

from ipaddress import ip_network

import pytest
from django.test import Client
from pytest_django import Settings

from tests.access.conftest import FAR, basic
from tests.metrics.conftest import Ask, MakeToken


def test_nobody_far_away_reads_them_without_a_token(ask: Ask, db: None) -> None:
    response = ask(REMOTE_ADDR=FAR)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Basic realm="vastsky"'
    assert b"vastsky_" not in response.content


def test_in_production_nobody_on_the_machine_does_either(
    ask: Ask, db: None, settings: Settings
) -> None:
    settings.VASTSKY_RPC_TRUSTED_NETWORKS = []

    assert ask(REMOTE_ADDR="127.0.0.1").status_code == 401


@pytest.mark.parametrize(
    ("role", "status"),
    [("reader", 200), ("monitor", 200), ("operator", 200), ("admin", 200), ("agent", 403)],
)
def test_a_token_with_a_role_that_reads_lets_in(
    ask: Ask, make_token: MakeToken, role: str, status: int
) -> None:
    text = make_token(role=role)

    response = ask(REMOTE_ADDR=FAR, HTTP_AUTHORIZATION=basic("prometheus", text))

    assert response.status_code == status


def test_a_wrong_token_is_not_made_good_by_a_network(
    ask: Ask, make_token: MakeToken, settings: Settings
) -> None:
    make_token()
    settings.VASTSKY_METRICS_NETWORKS = [ip_network("10.0.0.0/8")]

    response = ask(REMOTE_ADDR=FAR, HTTP_AUTHORIZATION=basic("prometheus", "wrong"))

    assert response.status_code == 401


def test_a_network_that_was_named_reads_metrics_and_nothing_else(
    ask: Ask, db: None, settings: Settings
) -> None:
    settings.VASTSKY_METRICS_NETWORKS = [ip_network("10.0.0.0/8")]

    assert ask(REMOTE_ADDR=FAR).status_code == 200
    assert ask(REMOTE_ADDR="11.0.0.7").status_code == 401
    call = Client().generic("POST", "/RPC2", b"<methodCall/>", REMOTE_ADDR=FAR)
    assert call.status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        {"HTTP_X_FORWARDED_FOR": "10.0.0.7"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_ORIGIN": "http://elsewhere.example"},
        {"HTTP_HOST": "elsewhere.example"},
    ],
)
def test_a_network_is_not_taken_from_a_proxy_or_a_page(
    ask: Ask, db: None, settings: Settings, header: dict[str, str]
) -> None:
    settings.VASTSKY_METRICS_NETWORKS = [ip_network("10.0.0.0/8")]

    assert ask(REMOTE_ADDR=FAR, **header).status_code == 401


def test_they_are_read_only(ask: Ask, db: None) -> None:
    response = ask("POST")

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


def test_nobody_keeps_them(ask: Ask, db: None) -> None:
    assert ask()["Cache-Control"] == "no-store"
    assert ask(REMOTE_ADDR=FAR)["Cache-Control"] == "no-store"
