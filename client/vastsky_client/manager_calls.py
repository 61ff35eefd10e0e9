"""Calls to the manager: the address in VAS_URL, and a failure of the way there in one line."""

import base64
import http.client
import os
import xmlrpc.client
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit
from xml.parsers.expat import ExpatError

VERSION = 5
DEFAULT_URL = "http://127.0.0.1:8881/RPC2"
CONNECT_SECONDS = 10
CALL_SECONDS = 330
"""Attach and detach answer when the nodes are done, which may take 300 s."""

Call = Callable[..., Any]


class Unanswered(Exception):
    """The manager gave no answer that could be read; the text is one line for people."""


def manager() -> Call:
    """Make `call("listHeadServers", hsvrid=1)`; a refusal is an xmlrpc.client.Fault."""
    address = _address(os.environ.get("VAS_URL") or DEFAULT_URL)
    # A token in the address never appears in a message.
    shown = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()

    def call(method: str, **members: object) -> Any:
        body = xmlrpc.client.dumps(({"ver": VERSION, **members},), method).encode()
        try:
            status, answer = _post(address, body)
        except OSError as failure:
            reason = failure.strerror or failure
            raise Unanswered(f"cannot reach the manager at {shown}: {reason}") from None
        except (http.client.HTTPException, ValueError):
            raise Unanswered(f"what answers at {shown} is no manager") from None
        return _read(answer, f"what answers at {shown} is no manager: HTTP {status}")

    return call


def _address(url: str) -> SplitResult:
    wrong = Unanswered(f"VAS_URL is no address of a manager; one looks like {DEFAULT_URL}")
    try:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname or address.port == 0:
            raise wrong
    except ValueError:
        raise wrong from None
    return address._replace(path=address.path.rstrip("/") or "/RPC2")


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


def _read(answer: bytes, otherwise: str) -> Any:
    """Take the value out of an answer, whatever its status: the 401 of a manager has a fault."""
    try:
        (result,), _ = xmlrpc.client.loads(answer)
    except (xmlrpc.client.ResponseError, ExpatError, ValueError):
        raise Unanswered(otherwise) from None
    return result


def _credentials(address: SplitResult) -> dict[str, str]:
    given, at, _ = address.netloc.rpartition("@")
    if not at:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(unquote_to_bytes(given)).decode()}
