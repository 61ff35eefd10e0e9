"""An agent's /metrics: on a port of its own, for the networks that its configuration names.

Whoever has a certificate that opens the agent's other door commands the node. A monitoring system
should have none, so it comes in here, where there is nothing but metrics.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from agents import exposition
from agents.errors import AgentError
from agents.exposition import MetricSample
from agents.node.http_server import BROWSER_HEADERS
from agents.reception.http_connection import Response
from agents.reception.http_request import Request
from agents.reception.reception import Bounds, Reception

logger = logging.getLogger(__name__)

PATH = "/metrics"
READING = ("GET", "HEAD")
BOUNDS = Bounds(threads=4, waiting=32, head_bytes=16 << 10, body_bytes=1, held_bytes=1 << 16)


class _MetricsDoor:
    """Tells metrics to who is near enough."""

    def __init__(self, tell: Callable[[], Iterable[MetricSample]], networks: Sequence[str]) -> None:
        self._tell = tell
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def admit(self, request: Request) -> Response | None:
        """Refuse who is not in the networks, and what is no scrape."""
        peer = ipaddress.ip_address(request.peer)
        if any(name in request.headers for name in BROWSER_HEADERS):
            return _said(HTTPStatus.FORBIDDEN)
        if not any(peer in network for network in self._networks):
            return _said(HTTPStatus.FORBIDDEN)
        if request.target.partition("?")[0] != PATH:
            return _said(HTTPStatus.NOT_FOUND)
        if request.method not in READING:
            return _said(HTTPStatus.METHOD_NOT_ALLOWED)
        return None

    def answer(self, request: Request, body: bytes | None) -> Response:
        """Read everything now; a scrape has no body."""
        refusal = self.admit(request)
        if refusal is not None or body:
            return refusal or _said(HTTPStatus.BAD_REQUEST)
        openmetrics = exposition.is_openmetrics(request.headers.get("accept", ""))
        try:
            text = exposition.write(self._tell(), openmetrics=openmetrics)
        except Exception:
            logger.exception("the metrics cannot be told")
            return _said(HTTPStatus.INTERNAL_SERVER_ERROR)
        kind = exposition.OPENMETRICS if openmetrics else exposition.PLAIN
        return Response(HTTPStatus.OK, [("Content-Type", kind)], text)


def _said(status: HTTPStatus) -> Response:
    words = f"{status.value} {status.phrase}\n".encode()
    return Response(status, [("Content-Type", "text/plain; charset=utf-8")], words, last=True)


class MetricsServer:
    """Listens on all addresses of the node."""

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        networks: Sequence[str],
        tell: Callable[[], Iterable[MetricSample]],
    ) -> None:
        self._reception = Reception(_MetricsDoor(tell, networks), BOUNDS)
        for address in dict.fromkeys(addresses):
            try:
                self._reception.listen(address, port)
            except OSError as error:
                self._reception.close()
                code, text = error.errno or 0, f"metrics: {address}:{port}: {error.strerror}"
                raise AgentError(code, text) from None

    def start(self) -> None:
        """Begin to answer."""
        self._reception.start()

    def stop(self) -> None:
        """Stop answering, then stop listening."""
        self._reception.stop()
