"""Bodies of requests, whose senders may be slow or silent.

Granian (2.8) gives up on headers that do not come, but not on a body, and a read of one cannot be
broken off. So it is given very many threads, which it starts only when it needs them; of those few
are at work at once, and one that waits for a body does not count.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from agents.body_drain import drain
from inventory.fair_places import FairPlaces

AT_ONCE = 64
"""Requests at work. Attach and detach hold a place each until the nodes are done; at most
VASTSKY_WAITING_CALLS of them."""
TAKEN_UNREAD = 64 << 20
COURTESY = 10.0
"""Of a body that nobody wants so many bytes, for so many seconds, are taken in after the answer: a
client only hears it once it has sent its request."""

ARRIVED, REST = "vastsky.arrived", "vastsky.rest"
"""What a request's environment tells: when it came, and how it gives its place away meanwhile."""

_working = FairPlaces(AT_ONCE)
_courteous = threading.BoundedSemaphore(100)
"""One that sends nothing at all holds such a place, and its thread, until it goes away."""

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def bounded(application: Application) -> Application:
    """Middleware: whoever sends its body late, or never, holds nobody up, and hears its answer."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"] = _Body(environ["wsgi.input"], _announced(environ))
        environ[ARRIVED], environ[REST] = time.monotonic(), _rest
        with _place():
            response = application(environ, start_response)
        return _Answer(response, body) if body.left > 0 else response

    return answer


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


def _announced(environ: dict[str, Any]) -> int:
    try:
        return int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


class _Body:
    """What stands for `wsgi.input`: gives its place at work away while it waits."""

    def __init__(self, body: Any, left: int) -> None:
        self._body = body
        self.left = left

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all."""
        return self._waiting(partial(self._body.read, size))

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        return self._waiting(partial(self._body.readline, size))

    def throw_away(self) -> None:
        """Take in what is left, within bounds of bytes, time, and how many do so at once."""
        if not _courteous.acquire(blocking=False):
            return
        try:
            drain(self._body.read, min(self.left, TAKEN_UNREAD), COURTESY)
        finally:
            _courteous.release()

    def _waiting(self, read: Callable[[], bytes]) -> bytes:
        with _rest():
            got = read()
        # A body that ended early has nothing left.
        self.left = self.left - len(got) if got else 0
        return got


class _Answer:
    """A response, and after it the rest of the request."""

    def __init__(self, response: Any, body: _Body) -> None:
        self._response = response
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response
        self._body.throw_away()

    def close(self) -> None:
        """Close the response, as a server does with each."""
        if hasattr(self._response, "close"):
            self._response.close()
