"""The agent's HTTP server: XML-RPC on every address of the node, for the manager alone.

With an identity, over HTTPS and for whoever has a certificate that allows to call; without one,
over HTTP and for programs of this machine. A thread is given to whole requests only, so that
nobody who is silent keeps the manager out.
"""

import ipaddress
from collections.abc import Callable, Sequence
from http import HTTPStatus

from agents.errors import AgentError
from agents.identity import Identity
from agents.node.methods import Method, answer
from agents.reception.http_connection import Response
from agents.reception.http_request import Request
from agents.reception.reception import Bounds, Reception

REQUEST_SECONDS = 10.0
AT_ONCE = 256
"""An attach holds a thread for 20 s at most."""
WAITING = 512
BROWSER_HEADERS = ("origin", "sec-fetch-site")
"""What a page in a browser cannot help sending; neither the manager nor a program does."""


def is_trusted(address: str) -> bool:
    """Tell whether orders without a certificate are obeyed from this address: this machine's."""
    return ipaddress.ip_address(address).is_loopback


class _RpcDoor:
    """Answers calls; whatever the body is, the answer is a value or a fault."""

    def __init__(
        self,
        methods: dict[str, Method],
        identity: Identity | None,
        trusts: Callable[[str], bool],
        node_uuid: str,
    ) -> None:
        self._methods = methods
        self._node_uuid = node_uuid
        self._identity = identity
        self._trusts = trusts

    def admit(self, request: Request) -> Response | None:
        """Let in who may give orders, and refuse what is no call."""
        if request.method != "POST":
            return _refusal(HTTPStatus.NOT_IMPLEMENTED)
        if any(name in request.headers for name in BROWSER_HEADERS) or not self._lets_in(request):
            return _refusal(HTTPStatus.UNAUTHORIZED)
        if "content-length" not in request.headers:
            return _refusal(HTTPStatus.LENGTH_REQUIRED)
        return None

    def answer(self, request: Request, body: bytes | None) -> Response:
        """Obey, or refuse."""
        refusal = self.admit(request)
        if refusal is not None:
            return refusal
        answered = answer(self._methods, body, self._node_uuid)
        return Response(HTTPStatus.OK, [("Content-Type", "text/xml")], answered)

    def _lets_in(self, request: Request) -> bool:
        return bool(self._identity) or self._trusts(request.peer)


def _refusal(status: HTTPStatus) -> Response:
    words = f"{status.value} {status.phrase}\n".encode()
    return Response(status, [("Content-Type", "text/plain")], words, last=True)


class AgentServer:
    """Listens on all addresses of the node."""

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        methods: dict[str, Method],
        identity: Identity | None = None,
        trusts: Callable[[str], bool] = is_trusted,
        *,
        node_uuid: str = "",
    ) -> None:
        door = _RpcDoor(methods, identity, trusts, node_uuid)
        bounds = Bounds(threads=AT_ONCE, waiting=WAITING, request_seconds=REQUEST_SECONDS)
        secure = identity.answering if identity else None
        self._reception = Reception(door, bounds, secure)
        for address in dict.fromkeys(addresses):
            try:
                self._reception.listen(address, port)
            except OSError as error:
                self.close()
                code = error.errno or 0
                raise AgentError(code, f"{address}:{port}: {error.strerror}") from None

    def start(self) -> None:
        """Begin to answer."""
        self._reception.start()

    def close(self) -> None:
        """Stop listening."""
        self._reception.close()

    def stop(self) -> None:
        """Stop answering, then stop listening."""
        self._reception.stop()
