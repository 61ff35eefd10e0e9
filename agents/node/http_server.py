"""The agent's HTTP server: XML-RPC on every address of the node, for the manager alone.

With an identity, over HTTPS and for whoever has a certificate that allows to call; without one,
over HTTP and for programs of this machine.
"""

import http.server
import io
import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from agents.body_drain import drain
from agents.errors import AgentError
from agents.identity import Identity
from agents.node.methods import Method, answer
from agents.transport import Deadline, DeadlineReader

logger = logging.getLogger(__name__)

MAX_BODY = 2 << 20
MAX_DRAIN = 16 << 20
"""So much of a body that is too long is read and thrown away, so that the refusal is heard."""
REQUEST_SECONDS = 15.0
POLL_SECONDS = 0.1
"""How long it takes at most to stop."""
MAX_CONNECTIONS = 256
BROWSER_HEADERS = ("Origin", "Sec-Fetch-Site")
"""What a page in a browser cannot help sending; neither the manager nor a program does."""


def is_trusted(address: str) -> bool:
    """Tell whether orders without a certificate are obeyed from this address: this machine's."""
    return ipaddress.ip_address(address).is_loopback


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "VastSky/5"
    sys_version = ""
    error_content_type = "text/plain"
    error_message_format = "%(code)d %(message)s\n"
    disable_nagle_algorithm = True
    server: "_Listener"
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.deadline = Deadline(REQUEST_SECONDS)
        self._reader = DeadlineReader(self.connection, self.deadline)
        self.rfile: io.BufferedIOBase = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """Give each request, from its first byte to its last, one deadline."""
        self._reader.deadline = Deadline(REQUEST_SECONDS)
        try:
            super().handle_one_request()
        except OSError:  # the peer went away
            self.close_connection = True

    def do_POST(self) -> None:
        """Answer one call; whatever the body is, the answer is a value or a fault."""
        if self._is_from_a_page() or not self._is_let_in():
            self._refuse(HTTPStatus.UNAUTHORIZED)
            return
        length = self._length()
        if length is None:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return
        body = self._body(length)
        if body is None:
            self.close_connection = True
        self.connection.settimeout(REQUEST_SECONDS)
        self._send(answer(self.server.methods, body))

    def _is_from_a_page(self) -> bool:
        return any(name in self.headers for name in BROWSER_HEADERS)

    def _is_let_in(self) -> bool:
        return bool(self.server.identity) or self.server.trusts(self.client_address[0])

    def _length(self) -> int | None:
        text = self.headers.get("Content-Length", "")
        if not text.isascii() or not text.isdigit() or len(text) > len(str(1 << 62)):
            return None
        return int(text)

    def _body(self, length: int) -> bytes | None:
        """Read the body; None if it is longer than allowed."""
        if length <= MAX_BODY:
            return self.rfile.read(length)
        drain(self.rfile.read, min(length, MAX_DRAIN))
        return None

    def _send(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.connection.settimeout(REQUEST_SECONDS)
        self.send_error(status)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        logger.debug("%s: %s", self.client_address[0], format % args)


class _Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One listening address."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    slots: ClassVar[threading.BoundedSemaphore] = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def __init__(
        self,
        address: tuple[str, int],
        methods: dict[str, Method],
        identity: Identity | None,
        trusts: Callable[[str], bool],
    ) -> None:
        self.methods = methods
        self.identity = identity
        self.trusts = trusts
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection if there is a thread for it."""
        if not self.slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            secured = self._secured(request)
        except OSError as error:
            logger.info("%s was not let in: %s", client_address[0], error)
            self.shutdown_request(request)
        else:
            super().process_request_thread(secured, client_address)
        finally:
            self.slots.release()

    def _secured(self, request: socket.socket) -> socket.socket:
        """Shake hands, in the connection's own thread: a slow peer keeps nobody else waiting."""
        if self.identity is None:
            return request
        request.settimeout(REQUEST_SECONDS)
        return self.identity.answering().wrap_socket(request, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log a defect; the server lives on."""
        logger.error("request from %s", client_address, exc_info=True)  # noqa: LOG014 - called in one


class AgentServer:
    """Listens on all addresses of the node."""

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        methods: dict[str, Method],
        identity: Identity | None = None,
        trusts: Callable[[str], bool] = is_trusted,
    ) -> None:
        self._servers: list[_Listener] = []
        for address in addresses:
            try:
                self._servers.append(_Listener((address, port), methods, identity, trusts))
            except OSError as error:
                self.close()
                code = error.errno or 0
                raise AgentError(code, f"{address}:{port}: {error.strerror}") from None
        self._threads = [
            threading.Thread(
                target=server.serve_forever, args=(POLL_SECONDS,), name=f"http-{n}", daemon=True
            )
            for n, server in enumerate(self._servers)
        ]

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.server_close()

    def stop(self) -> None:
        """Stop answering, then stop listening."""
        for server in self._servers:
            server.shutdown()
        self.close()
