"""Who scrapes the manager."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from tests.metrics.scrape import Scrape
from vastsky_site.access import authentication, tokens

MakeToken = Callable[..., str]
Ask = Callable[..., Any]
Read = Callable[..., Scrape]


@pytest.fixture(autouse=True)
def _no_failures_are_remembered() -> Iterator[None]:
    authentication.attempts.clear()
    yield
    authentication.attempts.clear()


@pytest.fixture
def make_token(db: None) -> MakeToken:
    """Make a token; its text."""

    def make(name: str = "prometheus", role: str = "reader") -> str:
        return tokens.create_token(name=name, role=role)[1]

    return make


@pytest.fixture
def ask() -> Ask:
    """Ask for /metrics; the HTTP response."""

    def get(method: str = "GET", **headers: str) -> Any:
        return Client(raise_request_exception=True).generic(method, "/metrics", **headers)  # type: ignore[arg-type]

    return get


@pytest.fixture
def scrape(ask: Ask, db: None) -> Read:
    """Scrape the manager from its own machine, and read what it tells."""

    def read(**headers: str) -> Scrape:
        response = ask(**headers)
        assert response.status_code == 200
        openmetrics = response["Content-Type"].startswith("application/openmetrics-text")
        return Scrape(response.content.decode(), openmetrics=openmetrics)

    return read
