"""From a request to the site and back: WSGI behind the reception, which waits for bodies.

A caller of /RPC2 whose body takes its time is told whether it is let in before it has sent it.
"""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from agents.reception.http_connection import Response
from agents.reception.http_request import Request
from inventory.fair_places import FairPlaces

logger = logging.getLogger(__name__)

AT_ONCE = 64
"""Requests at work. Attach and detach hold a place each until the nodes are done; at most
VASTSKY_WAITING_CALLS of them."""

PATH = "/RPC2"
ARRIVED, REST = "vastsky.arrived", "vastsky.rest"
"""What a request's environment tells: when it came, and how it gives its place away meanwhile."""
AWAITED = "vastsky.body_awaited"
"""In the environment of a request whose body is still to come; `LET_IN` lets it come."""
LET_IN = HTTPStatus.CONTINUE
OWN_NAMES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
PLAIN = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}

_working = FairPlaces(AT_ONCE)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class SiteDoor:
    """Answers by a WSGI application."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def admit(self, request: Request) -> Response | None:
        """Refuse a call whose caller is not known; what else is sent to the site may come."""
        environ = _environ(request, b"")
        if environ["PATH_INFO"] != PATH:
            return None
        response = self._run(environ | {AWAITED: True})
        return None if response.status == LET_IN else response

    def answer(self, request: Request, body: bytes | None) -> Response:
        """Answer by the application; of a body that is too long it sees the length alone."""
        return self._run(_environ(request, body or b""))

    def _run(self, environ: dict[str, Any]) -> Response:
        status, headers = 500, list[tuple[str, str]]()

        def start_response(line: str, theirs: list[tuple[str, str]], _: object = None) -> None:
            nonlocal status, headers
            status, headers = int(line[:3]), theirs

        environ[ARRIVED], environ[REST] = time.monotonic(), _rest
        try:
            with _place():
                answer = self._application(environ, start_response)
            if getattr(answer, "streaming", False):
                return Response(status, headers, answer)
            body = b"".join(answer)
        except Exception:
            logger.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, last=True)
        if close := getattr(answer, "close", None):
            close()
        return Response(status, headers, body)


@contextmanager
def _place() -> Iterator[None]:
    _working.take(threading.TIMEOUT_MAX)
    try:
        yield
    finally:
        _working.give_back()


@contextmanager
def _rest() -> Iterator[None]:
    _working.give_back()
    try:
        yield
    finally:
        _working.take(threading.TIMEOUT_MAX)


def _environ(request: Request, body: bytes) -> dict[str, Any]:
    target = request.target
    if not target.startswith("/"):  # as a proxy is asked
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}"
    path, _, query = target.partition("?")
    environ = {
        **PLAIN,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1") if "%" in path else path,
        "QUERY_STRING": query,
        "SERVER_NAME": request.server[0],
        "SERVER_PORT": str(request.server[1]),
        "SERVER_PROTOCOL": request.version,
        "REMOTE_ADDR": request.peer,
        "wsgi.url_scheme": "https" if request.secure else "http",
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in request.headers.items():
        if "_" not in name:  # it would pass for one with a hyphen
            environ[OWN_NAMES.get(name) or "HTTP_" + name.upper().replace("-", "_")] = value
    return environ
