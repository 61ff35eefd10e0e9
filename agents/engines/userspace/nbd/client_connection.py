"""The asking end of NBD: one connection to one export, never reopened behind anybody's back."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.stream import Stream
from agents.engines.userspace.nbd import messages

SLOW_FACTOR = 6
"""One request may take this many times the timeout while others are answered: a slow disk is no
dead server. After that it is taken for a disk that hangs."""
CONNECT_SECONDS = 1.0
"""After which another address is tried: a server's kernel takes connections while that is busy."""
PROBE_BYTES = 512
LOST = -1
"""What a request is answered with whose connection is gone: no server can say that."""
EXPORT_INFO = struct.Struct(">HQH")
MAX_OPTION_REPLY = 64 << 10
MAX_CHUNK = messages.MAX_PAYLOAD + 4096

Opened = Callable[["ClientConnection | None", str], None]
Lost = Callable[[str], None]


def open_connection(
    reactor: Reactor,
    addresses: Sequence[str],
    port: int,
    export: str,
    timeout: float,
    opened: Opened,
) -> None:
    """Connect by the first address that leads to the export; tells it, or why there is none."""
    targets = [(address, port) for address in addresses]
    _open_first(reactor, targets, "", export, timeout, opened)


def _open_first(
    reactor: Reactor,
    targets: list[tuple[str, int]],
    why: str,
    export: str,
    timeout: float,
    opened: Opened,
) -> None:
    """Try the first target, and the others if it fails; `why` tells of those that failed."""
    if not targets:
        opened(None, why or "no address")
        return
    target, *others = targets

    def ended(connection: ClientConnection | None, reason: str) -> None:
        if connection is None:
            failed = f"{why}; " if why else ""
            _open_first(reactor, others, f"{failed}{target}: {reason}", export, timeout, opened)
        else:
            opened(connection, "")

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    code = sock.connect_ex(target)
    if code in {0, errno.EINPROGRESS}:
        connection = ClientConnection(reactor, sock, export, timeout, ended)
        if others:
            reactor.after(CONNECT_SECONDS, connection.check_connected)
    else:
        sock.close()
        ended(None, os.strerror(code))


class ClientConnection(Stream):
    """An export as a device. Once lost it answers every request, pending or new, with LOST."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket, export: str, timeout: float, opened: Opened
    ) -> None:
        super().__init__(reactor, sock)
        self.size = 0
        self.flags = 0
        self.instance = ""
        self.silent = False
        self.pending: dict[int, list[Any]] = {}
        self.on_lost: Lost = _ignore
        self._timeout = timeout
        self._opened: Opened | None = opened
        self._cookie = 0
        self._heard = reactor.now
        self._status = False
        self._answer = (0, 0, 0)
        self._request: list[Any] = []
        self._chunk_kind = 0
        self._chunk_done = False
        self._chunk_cookie = 0
        self.want(messages.GREETING.size, self._on_greeting)
        self.begin()
        reactor.after(timeout, self._check_opened)
        self.send(_choices(export.encode()))
        self.push()

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Send one request; `done` is called later, never from here."""
        if self.closed:
            self.reactor.soon.append(partial(done, LOST, None))
            return
        if command == messages.BLOCK_STATUS and not self._status:
            # A server that cannot tell: everything may hold data.
            self.reactor.soon.append(partial(done, 0, [(length, 0)]))
            return
        if not self.pending:
            self._heard = self.reactor.now
        cookie = self._cookie = self._cookie + 1
        self.pending[cookie] = [done, command, length, self.reactor.now, offset, None, 0]
        request = messages.REQUEST.pack(
            messages.REQUEST_MAGIC, flags, command, cookie, offset, length
        )
        if data is None:
            self.send(request)
        else:
            self.send(request, data)

    def check(self, now: float) -> None:
        """Drop the connection when the server went silent, or one request hangs."""
        if not self.pending or self.closed:
            return
        oldest = next(iter(self.pending.values()))[3]
        silent = now - self._heard
        if silent > self._timeout or now - oldest > SLOW_FACTOR * self._timeout:
            self.silent = True
            self.close(f"no answer for {now - oldest:.1f} s", reset=True)
        elif silent > self._timeout / 2:
            self.probe()

    def probe(self) -> None:
        """Ask a small question: the answer, or its absence, tells whether the server is there."""
        self.submit(messages.READ, 0, PROBE_BYTES, None, 0, _ignore_reply)

    def goodbye(self) -> None:
        """Part from the server in good order."""
        if not self.closed:
            self.on_lost = _ignore
            self.send(
                messages.REQUEST.pack(messages.REQUEST_MAGIC, 0, messages.DISCONNECT, 0, 0, 0)
            )
            self.push()
            self.close("done with it")

    def abandon(self) -> None:
        """Cut the connection: what the kernel has not sent yet never arrives."""
        self.on_lost = _ignore
        self.close("out of use", reset=True)

    def on_close(self, reason: str) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened(None, reason)
            return
        self.on_lost(reason)
        pending, self.pending = self.pending, {}
        for request in pending.values():
            request[0](LOST, None)

    # -- the handshake: all that we have to say at once, before the greeting, then the replies

    def _on_greeting(self, place: int) -> None:
        magic, option_magic, flags = messages.GREETING.unpack_from(self.reactor.scratch, place)
        if (
            magic != messages.NBD_MAGIC
            or option_magic != messages.OPTION_MAGIC
            or not flags & messages.FIXED_NEWSTYLE
        ):
            self.close("not an NBD server")
            return
        self.want(messages.OPTION_REPLY.size, self._on_option_reply)

    def _on_option_reply(self, place: int) -> None:
        magic, option, kind, length = messages.OPTION_REPLY.unpack_from(self.reactor.scratch, place)
        if magic != messages.OPTION_REPLY_MAGIC or length > MAX_OPTION_REPLY:
            self.close("not an option's reply")
        elif length:
            self._answer = option, kind, length
            self.want(length, self._on_option_answer)
        elif option == messages.OPT_GO:
            self._answer = option, kind, length
            self._on_option_answer(place)

    def _on_option_answer(self, place: int) -> None:
        option, kind, length = self._answer
        self.want(messages.OPTION_REPLY.size, self._on_option_reply)
        if option == messages.OPT_SET_META and kind == messages.REP_META:
            self._status = True
        if option != messages.OPT_GO:
            return
        if kind == messages.REP_INFO and length >= EXPORT_INFO.size:
            what, size, flags = EXPORT_INFO.unpack_from(self.reactor.scratch, place)
            if what == messages.INFO_EXPORT:
                self.size, self.flags = size, flags
            elif what == messages.INFO_DESCRIPTION:
                self.instance = self._text(place + 2, length - 2)
        elif kind == messages.REP_ACK:
            self.want(messages.SIMPLE_REPLY.size, self._on_reply)
            opened, self._opened = self._opened, None
            if opened is not None:
                opened(self, "")
        elif kind & messages.REP_ERROR:
            by = self._text(place, length)
            self.close(f"the export was refused ({kind & 0xFF}) {by}".rstrip())

    def _text(self, place: int, length: int) -> str:
        return bytes(self.reactor.scratch_view[place : place + length]).decode(errors="replace")

    def check_connected(self) -> None:
        """Give up an address from which nothing comes back; the server may have another one."""
        if self._opened is not None and not self._is_connected():
            self.close("nobody answers", reset=True)

    def _is_connected(self) -> bool:
        try:
            self._socket.getpeername()
        except OSError:
            return False
        return True

    def _check_opened(self) -> None:
        if self._opened is not None:
            self.close("no answer to the handshake", reset=True)

    # -- replies

    def _on_reply(self, place: int) -> None:
        magic, error, cookie = messages.SIMPLE_REPLY.unpack_from(self.reactor.scratch, place)
        self._heard = self.reactor.now
        if magic == messages.CHUNK_MAGIC:
            self._on_chunk(error, cookie)
            return
        request = self.pending.get(cookie)
        if request is None or magic != messages.SIMPLE_REPLY_MAGIC:
            self.close("not a reply", reset=True)
        elif error or request[1] != messages.READ:
            del self.pending[cookie]
            request[0](error, None)
        else:
            self._read_into(request, cookie, 0, request[2], done=True)

    def _on_chunk(self, flags_and_kind: int, cookie: int) -> None:
        request = self.pending.get(cookie)
        if request is None:
            self.close("a chunk that nobody asked for", reset=True)
            return
        self._request = request
        self._chunk_cookie = cookie
        self._chunk_kind = flags_and_kind & 0xFFFF
        self._chunk_done = bool(flags_and_kind >> 16 & messages.CHUNK_DONE)
        if self._chunk_kind == messages.CHUNK_DATA:
            self.want(12, self._on_data_chunk)
        else:
            self.want(4, self._on_chunk_length)

    def _on_data_chunk(self, place: int) -> None:
        length, offset = struct.unpack_from(">IQ", self.reactor.scratch, place)
        self.want(messages.SIMPLE_REPLY.size, self._on_reply)
        request = self._request
        self._read_into(
            request, self._chunk_cookie, offset - request[4], length - 8, done=self._chunk_done
        )

    def _read_into(
        self, request: list[Any], cookie: int, start: int, length: int, *, done: bool
    ) -> None:
        if start < 0 or length <= 0 or start + length > request[2]:
            self.close("data outside what was asked", reset=True)
            return
        if request[5] is None:
            request[5] = bytearray(request[2])
        arrived = partial(self._end_chunk, cookie, done)
        self.into(memoryview(request[5])[start : start + length], arrived)

    def _on_chunk_length(self, place: int) -> None:
        (length,) = struct.unpack_from(">I", self.reactor.scratch, place)
        self.want(messages.SIMPLE_REPLY.size, self._on_reply)
        if length > MAX_CHUNK:
            self.close("a chunk that is too long", reset=True)
            return
        body = bytearray(length)
        self.into(memoryview(body), partial(self._on_chunk_body, body))

    def _on_chunk_body(self, body: bytearray) -> None:
        request, kind = self._request, self._chunk_kind
        if kind & messages.CHUNK_ERROR:
            request[6] = int.from_bytes(body[:4], "big") or errno.EIO
        elif kind == messages.CHUNK_STATUS:
            request[5] = list(struct.iter_unpack(">II", body[4:]))
        elif kind == messages.CHUNK_HOLE and request[5] is None:
            request[5] = bytearray(request[2])
        self._end_chunk(self._chunk_cookie, self._chunk_done)

    def _end_chunk(self, cookie: int, done: int) -> None:
        self._heard = self.reactor.now
        if done:
            request = self.pending.pop(cookie)
            request[0](request[6], request[5])


def _choices(export: bytes) -> bytes:
    """Make the client's side of the handshake. No choice depends on what the greeting says."""
    name = struct.pack(">I", len(export)) + export
    return (
        _BEFORE_META
        + _option(messages.OPT_SET_META, name + _ALLOCATION)
        + _BEFORE_GO
        + _option(messages.OPT_GO, name + b"\0\0")
    )


def _option(option: int, body: bytes) -> bytes:
    return messages.OPTION.pack(messages.OPTION_MAGIC, option, len(body)) + body


_ALLOCATION = (
    struct.pack(">II", 1, len(messages.META_ALLOCATION)) + messages.META_ALLOCATION.encode()
)
_BEFORE_META = struct.pack(">I", messages.FIXED_NEWSTYLE) + _option(
    messages.OPT_STRUCTURED_REPLY, b""
)
_BEFORE_GO = _option(messages.OPT_OWN, b"")


def _ignore(_reason: str) -> None:
    """Nobody waits for this connection."""


def _ignore_reply(_error: int, _data: Any) -> None:
    """Any answer proves that the server lives."""
