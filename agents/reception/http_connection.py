"""One client's connection: its bytes, how far its request is, and until when it may wait."""

import select
import socket
import ssl
import time
import typing
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus

if typing.TYPE_CHECKING:
    from agents.reception.http_request import Request

CHUNK = 1 << 18
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Phase(Enum):
    """What a connection waits for, or is worked at for."""

    GREETING = auto()
    """The TLS handshake."""
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    """The client has to take its answer."""
    DRAIN = auto()
    """What it still sends is thrown away: it only hears its answer once it has sent its request."""


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered. A body that is no bytes is a stream, sent as it comes."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""
    last: bool = False
    """The connection carries no further request."""


class RequestConnection:
    """A socket that never blocks, and what is known of its request."""

    def __init__(self, sock: socket.socket, peer: str, deadline: float, *, secure: bool) -> None:
        self.sock = sock
        self.peer = peer
        self.secure = secure
        self.server: tuple[str, int] = sock.getsockname()[:2]
        self.phase = Phase.GREETING if secure else Phase.HEAD
        self.deadline = deadline
        self.since = time.monotonic()
        self.buffer = bytearray()
        self.request: Request | None = None
        self.admitted = False
        self.asked_to_admit = False
        self.last = False
        self.unread = 0
        self._out: deque[memoryview] = deque()
        self._framed = False

    def greet(self, secure: Callable[[], ssl.SSLContext]) -> None:
        """Go on with the TLS handshake."""
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = secure().wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False
            )
        self.sock.do_handshake()

    def receive(self) -> bool:
        """Take what has come; tell whether there is reason to look at it, or for more.

        BlockingIOError, or TLS's own, if there is nothing; ConnectionError at the end.
        """
        got = self.sock.recv(CHUNK)
        if not got:
            raise ConnectionResetError("the peer hung up")
        self.buffer += got
        return True

    def discard(self) -> None:
        """Throw away what has come, within bounds."""
        self.buffer.clear()
        got = self.sock.recv(CHUNK)
        self.unread -= len(got)
        if not got or self.unread <= 0:
            raise ConnectionResetError("enough was thrown away")

    def queue(self, response: Response) -> None:
        """Prepare an answer; a stream has to be sent with `stream`."""
        self._framed = not isinstance(response.body, bytes) and self._has_no_end(response)
        head = _head(response, framed=self._framed, last=self.last)
        body = response.body if isinstance(response.body, bytes) else b""
        if self._wants_no_body():
            body = b""
        if len(body) < CHUNK:
            self._out.append(memoryview(head + body))
        else:
            self._out.extend((memoryview(head), memoryview(body)))

    def arrives(self, milliseconds: int) -> bool:
        """Wait so long for what the client sends, or for its end."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def push(self) -> None:
        """Send what the client takes; BlockingIOError, or another of its kind, at its bounds."""
        out = self._out
        while out:
            sent = self.sock.send(out[0])
            if sent < len(out[0]):
                out[0] = out[0][sent:]
            else:
                out.popleft()

    def stream(self, chunks: Iterable[bytes], seconds: float) -> None:
        """Send an answer as it comes, in this thread; nobody may take nothing for so long."""
        if self._wants_no_body():
            return
        for chunk in filter(None, chunks):
            piece = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._framed else chunk
            self._out.append(memoryview(piece))
            self._push_within(seconds)
        if self._framed:
            self._out.append(memoryview(b"0\r\n\r\n"))

    def say(self, words: bytes) -> None:
        """Send a few words if the socket takes them; whether it did matters to nobody."""
        try:
            self.sock.send(words)
        except OSError:
            return

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def _wants_no_body(self) -> bool:
        return self.request is not None and self.request.method == "HEAD"

    def _has_no_end(self, response: Response) -> bool:
        """Tell whether a stream has to frame itself; an old client is told by hanging up."""
        if self.request is None or _tells_its_length(response):
            return False
        if self.request.version == "HTTP/1.1":
            return True
        self.last = True
        return False

    def _push_within(self, seconds: float) -> None:
        while True:
            try:
                self.push()
            except (BlockingIOError, ssl.SSLWantWriteError):
                poll = select.poll()
                poll.register(self.sock, select.POLLOUT)
                if not poll.poll(seconds * 1000):
                    raise TimeoutError("the client takes nothing") from None
            else:
                return


def _head(response: Response, *, framed: bool, last: bool) -> bytes:
    status = response.status
    phrase = PHRASES.get(status, "Unknown")
    lines = [f"HTTP/1.1 {status} {phrase}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if framed:
        lines.append("Transfer-Encoding: chunked")
    elif isinstance(response.body, bytes) and not _tells_its_length(response):
        lines.append(f"Content-Length: {len(response.body)}")
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _tells_its_length(response: Response) -> bool:
    return response.status in BODILESS or any(
        name.lower() == "content-length" for name, _ in response.headers
    )
