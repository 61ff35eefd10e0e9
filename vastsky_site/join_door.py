"""The door by which nodes join: the authority's certificate for all, then a secret for a place.

GET /join tells what anybody may know: a machine compares the authority with the fingerprint of its
join string, and speaks on only over TLS that this authority vouches for. POST /join brings secret
and certificate request; POST /join/renew brings a node's token and a request by its same key.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from inventory import audit, servers
from inventory.errors import Forbidden, Invalid, Refused
from vastsky_site.access import members
from vastsky_site.access.authentication import Denied, identify, neighbourhood, peer_of
from vastsky_site.access.certificates import pem
from vastsky_site.access.lockout import Attempts
from vastsky_site.access.shared_counts import SharedCounts

JOIN, RENEW = "/join", "/join/renew"
VERSION = 1
BODY_BYTES = 64 * 1024
View = Callable[[HttpRequest], HttpResponse]
Act = Callable[[HttpRequest], dict[str, Any]]

attempts = Attempts(most=20, seconds=60, shared=SharedCounts("secrets"))
"""Wrong secrets of one address. Nobody guesses 144 bits; this bounds what trying costs us."""


def join_first(get_response: View) -> View:
    """Middleware: answer nodes by whatever name or address they call, before anything of pages."""

    def middleware(request: HttpRequest) -> HttpResponse:
        act = DOORS.get((request.method, request.path_info))
        return _answer(request, act) if act else get_response(request)

    return middleware


def _answer(request: HttpRequest, act: Act) -> HttpResponse:
    who = neighbourhood(peer_of(request))
    if not request.is_secure():
        return _refusal(403, "nodes join over TLS only: the web server needs --certificate")
    if wait := attempts.wait(who):
        return _refusal(429, f"too many wrong join strings from this address; wait {wait:.0f} s")
    try:
        answer = JsonResponse(act(request))
    except Denied as denied:
        return _refusal(denied.status, str(denied))
    except Forbidden as refusal:
        attempts.fail(who)
        return _refusal(403, str(refusal))
    except Refused as refusal:
        return _refusal(409, str(refusal))
    answer["Cache-Control"] = "no-store"
    return answer


def _refusal(status: int, text: str) -> HttpResponse:
    return JsonResponse({"error": text}, status=status)


def _tell(_: HttpRequest) -> dict[str, Any]:
    return {
        "version": VERSION,
        "authority": pem(members.authority()),
        "cluster": str(servers.cluster().uuid),
        "time": time.time(),
        **_ports(),
    }


def _ports() -> dict[str, int]:
    """Tell where this manager calls agents: a machine sees beforehand whether they are free."""
    return {
        "head_port": settings.VASTSKY_HEAD_AGENT_PORT,
        "storage_port": settings.VASTSKY_STORAGE_AGENT_PORT,
    }


def _join(request: HttpRequest) -> dict[str, Any]:
    body = _body(request)
    try:
        secret = bytes.fromhex(_text(body, "secret"))
    except ValueError:
        raise Invalid("secret: hexadecimal digits are wanted") from None
    addresses = body.get("addresses")
    if not isinstance(addresses, list) or any(not isinstance(one, str) for one in addresses):
        raise Invalid("addresses: an array of texts is wanted")
    with audit.acting_as("a node with a join string", audit.Entrance.NODE):
        admission = members.join(secret, _text(body, "request"), _text(body, "roles"), addresses)
    return {
        "version": VERSION,
        "name": admission.name,
        "certificate": admission.certificate,
        "token_name": admission.token_name,
        "token": admission.token,
        **_ports(),
    }


def _renew(request: HttpRequest) -> dict[str, Any]:
    caller = identify(request)
    with audit.acting_as(caller.name, audit.Entrance.NODE):
        certificate = members.renew(caller.token, _text(_body(request), "request"))
    return {"version": VERSION, "certificate": certificate}


def _body(request: HttpRequest) -> dict[str, Any]:
    """Read a request's object; Invalid for what is none, or is of another version."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_BYTES:
        raise Invalid(f"more than {BODY_BYTES} bytes")
    try:
        body = json.loads(request.body)
    except ValueError:
        raise Invalid("a JSON object is wanted") from None
    if not isinstance(body, dict) or body.get("version") != VERSION:
        raise Invalid(f"an object of version {VERSION} is wanted")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{name}: a text is wanted")
    return value


DOORS: dict[tuple[str | None, str], Act] = {
    ("GET", JOIN): _tell,
    ("POST", JOIN): _join,
    ("POST", RENEW): _renew,
}
