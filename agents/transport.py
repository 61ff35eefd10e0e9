"""One XML-RPC call over HTTP/1.1 or HTTPS that ends by its deadline, whatever the peer does."""

import errno
import http.client
import io
import socket
import ssl
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.errors import AgentError
from agents.identity import explain
from agents.struct_codec import Malformed
from agents.xmlrpc import dump_call, load_answer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_ANSWER = 64 << 20


class Unreachable(AgentError):
    """No answer came: refused, timed out, cut off, or not let in."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EHOSTDOWN, message)


class Deadline:
    """A moment on the monotonic clock by which everything must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Tell the seconds left; TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class DeadlineReader(io.RawIOBase):
    """Reads a socket; a peer that drips bytes gains no time by it."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self._sock.settimeout(self.deadline.left())
        return self._sock.recv_into(buffer)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer listens."""

    address: str
    port: int
    path: str = "/RPC2"
    authorization: str = field(default="", repr=False)
    secure: Callable[[], ssl.SSLContext] | None = field(default=None, repr=False, compare=False)
    """Makes what a TLS connection needs; plain HTTP without it."""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def call(
    peer: Endpoint, method: str, struct: Any, *, deadline: Deadline, connect_timeout: float
) -> Any:
    """Call `method` with one struct; the answer's value, or Fault, Unreachable, Malformed."""
    body = dump_call(method, struct)
    try:
        answer = _post(peer, body, deadline, min(connect_timeout, deadline.left()))
    except http.client.RemoteDisconnected as error:
        raise Unreachable(f"{peer}: {error}") from None
    except ssl.SSLError as error:
        raise Unreachable(f"{peer}: no TLS that both accept: {explain(error)}") from None
    except OSError as error:
        raise Unreachable(f"{peer}: {error.strerror or error}") from None
    except http.client.HTTPException:
        raise Malformed(f"{peer} speaks no HTTP") from None
    return load_answer(answer)


def _post(peer: Endpoint, body: bytes, deadline: Deadline, connect_timeout: float) -> bytes:
    with _connect(peer, deadline, connect_timeout) as sock:
        connection = http.client.HTTPConnection(peer.address, peer.port)
        connection.sock = typing.cast("Any", DeadlineSocket(sock, deadline))
        headers = {"Content-Type": "text/xml", "Connection": "close"}
        if peer.authorization:
            headers["Authorization"] = peer.authorization
        connection.request("POST", peer.path, body, headers)
        with connection.getresponse() as response:
            return _content(peer, response)


def _connect(peer: Endpoint, deadline: Deadline, connect_timeout: float) -> socket.socket:
    sock = socket.create_connection((peer.address, peer.port), connect_timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if peer.secure is None:
            return sock
        sock.settimeout(deadline.left())
        return peer.secure().wrap_socket(sock, server_hostname=peer.address)
    except BaseException:
        sock.close()
        raise


def _content(peer: Endpoint, response: http.client.HTTPResponse) -> bytes:
    if response.status == http.client.UNAUTHORIZED:
        raise Unreachable(f"{peer} does not let us in (HTTP 401)")
    if response.status != http.client.OK:
        raise Unreachable(f"{peer} answers HTTP {response.status}")
    expected = response.length
    if expected is not None and expected > MAX_ANSWER:
        raise Malformed(f"{peer} answers {expected} bytes, more than {MAX_ANSWER}")
    content = response.read(MAX_ANSWER + 1)
    if len(content) > MAX_ANSWER:
        raise Malformed(f"{peer} answers more than {MAX_ANSWER} bytes")
    if expected is not None and len(content) < expected:
        raise Unreachable(f"{peer} ended the connection within its answer")
    return content


class DeadlineSocket:
    """What http.client needs of a socket, under one deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(DeadlineReader(self._sock, self._deadline))

    def close(self) -> None:
        """Leave closing to the owner of the socket."""
