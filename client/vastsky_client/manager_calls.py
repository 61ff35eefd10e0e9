"""Calls to the manager: the address in VAS_URL, and a failure of the way there in one line."""

import base64
import http.client
import os
import xmlrpc.client
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult

from vastsky_client import answers, manager_address
from vastsky_client.manager_address import DEFAULT_URL

VERSION = 5
CONNECT_SECONDS = 10
CALL_SECONDS = 330
"""Attach and detach answer when the nodes are done, which may take 300 s."""

Call = Callable[..., Any]


class Unanswered(Exception):
    """The manager gave no answer that could be read; the text is one line for people."""


def manager() -> Call:
    """Make `call("listHeadServers", hsvrid=1)`; a refusal is an xmlrpc.client.Fault."""
    address = manager_address.parse(os.environ.get("VAS_URL") or DEFAULT_URL)
    if address is None:
        raise Unanswered(f"VAS_URL is no address of a manager; one looks like {DEFAULT_URL}")
    shown = manager_address.shown(address)

    def call(method: str, **members: object) -> Any:
        body = xmlrpc.client.dumps(({"ver": VERSION, **members},), method).encode()
        try:
            status, answer = _post(address, body)
        except OSError as failure:
            reason = failure.strerror or failure
            raise Unanswered(f"cannot reach the manager at {shown}: {reason}") from None
        except (http.client.HTTPException, ValueError):
            raise Unanswered(f"what answers at {shown} is no manager") from None
        try:
            return answers.read(answer)
        except answers.Unreadable:
            raise Unanswered(f"what answers at {shown} is no manager: HTTP {status}") from None

    return call


def _post(address: SplitResult, body: bytes) -> tuple[int, bytes]:
    """Send one request, once: a create said twice would be told that the volume exists."""
    secure = address.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    headers = {"Content-Type": "text/xml", **_credentials(address)}
    with closing(kind(address.hostname or "", address.port, timeout=CONNECT_SECONDS)) as way:
        way.connect()
        way.sock.settimeout(CALL_SECONDS)
        way.request("POST", address.path, body, headers)
        answer = way.getresponse()
        return answer.status, answer.read()


def _credentials(address: SplitResult) -> dict[str, str]:
    if "@" not in address.netloc:
        return {}
    given = manager_address.credentials(address)
    return {"Authorization": "Basic " + base64.b64encode(given).decode()}
