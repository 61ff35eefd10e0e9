"""Tokens, and clients of the API that come by each way in."""

import base64
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from vastsky_site.access import authentication, tokens

FAR = "10.0.0.7"
MakeToken = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_failures_are_remembered() -> Iterator[None]:
    authentication.attempts.clear()
    yield
    authentication.attempts.clear()


@pytest.fixture
def make_token(db: None) -> MakeToken:
    """Make a token; its text."""

    def make(name: str = "program", role: str = "reader", **about: Any) -> str:
        return tokens.create_token(name=name, role=role, **about)[1]

    return make


def basic(name: str, text: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{text}".encode()).decode()


def post(method: str, /, *params: Any, **headers: str) -> Any:
    """Send a call; the HTTP response."""
    body = xmlrpc.client.dumps(params, method)
    return Client(raise_request_exception=True).generic("POST", "/RPC2", body, **headers)  # type: ignore[arg-type]


def outcome(response: Any) -> int:
    """Tell how a call ended: its HTTP status if that is not 200, its fault, or 0."""
    if response.status_code != 200:
        return int(response.status_code)
    try:
        xmlrpc.client.loads(response.content)
    except xmlrpc.client.Fault as fault:
        return int(fault.faultCode)
    return 0
