"""One POST to a receiver that ends by its deadline, whatever the receiver does.

No redirect is followed, and nothing is read of an answer but its status.
"""

import http.client
import socket
import ssl
import typing
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from agents.identity import explain
from agents.transport import Deadline, DeadlineSocket

SECONDS = 10.0
CONNECT_SECONDS = 3.0
"""For each address of the receiver's name."""
TAKEN = range(200, 300)


class NotTaken(Exception):
    """The receiver did not take it; the text says why, in a line."""


def post(url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Send; NotTaken unless the receiver says that it has it."""
    target = urlsplit(url)
    try:
        status = _status(target, headers, body, Deadline(SECONDS))
    except ssl.SSLError as error:
        raise NotTaken(f"no TLS that both accept: {explain(error)}") from None
    except http.client.RemoteDisconnected:
        raise NotTaken("it hangs up without an answer") from None
    except OSError as error:
        raise NotTaken(str(error.strerror or error)) from None
    except (http.client.HTTPException, UnicodeError):
        raise NotTaken("it speaks no HTTP") from None
    if status not in TAKEN:
        raise NotTaken(f"it answers HTTP {status}")


def _status(
    target: SplitResult, headers: Mapping[str, str], body: bytes, deadline: Deadline
) -> int:
    with _connect(target, deadline) as sock:
        connection = http.client.HTTPConnection(target.hostname or "")
        connection.sock = typing.cast("Any", DeadlineSocket(sock, deadline))
        path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
        more = {"Host": target.netloc, "Connection": "close", **headers}
        connection.request("POST", path, body, more)
        with connection.getresponse() as response:
            return response.status


def _connect(target: SplitResult, deadline: Deadline) -> socket.socket:
    secure = target.scheme == "https"
    address = (target.hostname or "", target.port or (443 if secure else 80))
    sock = socket.create_connection(address, min(CONNECT_SECONDS, deadline.left()))
    if not secure:
        return sock
    try:
        sock.settimeout(deadline.left())
        return _tls().wrap_socket(sock, server_hostname=target.hostname)
    except BaseException:
        sock.close()
        raise


def _tls() -> ssl.SSLContext:
    """Trust the machine's authorities, and one more if there is one of our own."""
    context = ssl.create_default_context()
    if settings.VASTSKY_WEBHOOK_AUTHORITY:
        context.load_verify_locations(settings.VASTSKY_WEBHOOK_AUTHORITY)
    return context
