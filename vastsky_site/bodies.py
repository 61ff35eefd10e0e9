"""Bodies of requests, whose senders may be slow or silent.

Granian (2.8) gives up on headers that do not come, but not on a body, and a read of one cannot be
broken off. So it is given very many threads, which it starts only when it needs them; of those few
are at work at once, and one that waits for a body does not count.
"""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

AT_ONCE = 64
"""Requests at work. Attach and detach hold a place each until the nodes are done; at most
VASTSKY_WAITING_CALLS of them."""

_working = threading.BoundedSemaphore(AT_ONCE)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def bounded(application: Application) -> Application:
    """Middleware: whoever sends its body late, or never, holds nobody up."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"] = _Body(environ["wsgi.input"])
        with _working:
            return application(environ, start_response)

    return answer


class _Body:
    """What stands for `wsgi.input`: gives its place at work away while it waits."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all."""
        return self._waiting(partial(self._body.read, size))

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        return self._waiting(partial(self._body.readline, size))

    def _waiting(self, read: Callable[[], bytes]) -> bytes:
        _working.release()
        try:
            return read()
        finally:
            _working.acquire()
