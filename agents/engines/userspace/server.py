"""The serving end of NBD: listeners, the handshake, and requests answered out of order."""

import errno
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace import nbd
from agents.engines.userspace.reactor import IN, Reactor
from agents.engines.userspace.stream import Stream

MAX_OPTION = 16 << 10
BUSY_BYTES = 64 << 20
"""A client with this much under way is not read from until half of it is answered."""

ALLOCATION = nbd.META_ALLOCATION.encode()
MODIFIES = frozenset((nbd.WRITE, nbd.TRIM, nbd.WRITE_ZEROES))
SERVED = frozenset((nbd.READ, nbd.WRITE, nbd.FLUSH, nbd.TRIM, nbd.WRITE_ZEROES, nbd.BLOCK_STATUS))

Address = tuple[str, int] | str


class Exports:
    """What can be asked for by name, and who is connected."""

    def __init__(
        self, find: Callable[[str], nbd.Device | None], names: Callable[[], list[str]]
    ) -> None:
        self.find = find
        self.names = names
        self.connections: set[ServerConnection] = set()

    def clients(self, device: nbd.Device) -> int:
        """Count who has the device open."""
        return sum(connection.device is device for connection in self.connections)

    def disconnect(self, device: nbd.Device, *, owners_only: bool = False) -> None:
        """End the connections to a device."""
        for connection in list(self.connections):
            if connection.device is device and (connection.owns or not owners_only):
                connection.close("no longer served")


class Listener:
    """Accepts connections on one address, or on the path of a unix socket."""

    def __init__(self, reactor: Reactor, address: Address, exports: Exports) -> None:
        self._reactor = reactor
        self._address = address
        self._exports = exports
        if isinstance(address, str):
            self._socket = _listen_on_path(address)
        else:
            self._socket = socket.create_server(address, backlog=512)
        self._socket.setblocking(False)
        reactor.watch(self._socket.fileno(), IN, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        if isinstance(self._address, str):
            os.unlink(self._address)  # noqa: PTH108 (pathlib would cost the process 8 ms to start)

    def _accept(self, _mask: int) -> None:
        for _ in range(64):
            try:
                sock, _peer = self._socket.accept()
            except OSError:
                return
            ServerConnection(self._reactor, sock, self._exports)


def _listen_on_path(path: str) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108 (as above)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    return listener


class ServerConnection(Stream):
    """One client of one device."""

    def __init__(self, reactor: Reactor, sock: socket.socket, exports: Exports) -> None:
        super().__init__(reactor, sock)
        self.device: nbd.Device | None = None
        self.owns = False
        self._exports = exports
        self._structured = False
        self._allocation = False
        self._own_asked = False
        self._pad = b""
        self._option = 0
        self._request: tuple[int, int, int, int, bytearray] = (0, 0, 0, 0, bytearray())
        self._under_way = 0
        exports.connections.add(self)
        self.want(4, self._on_client_flags)
        self.begin()
        self.send(
            nbd.GREETING.pack(nbd.NBD_MAGIC, nbd.OPTION_MAGIC, nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES)
        )

    def on_close(self, reason: str) -> None:  # noqa: ARG002 (who goes away is no news here)
        self._exports.connections.discard(self)

    # -- the handshake

    def _on_client_flags(self, place: int) -> None:
        (flags,) = struct.unpack_from(">I", self.reactor.scratch, place)
        self._pad = b"" if flags & nbd.NO_ZEROES else bytes(124)
        self.want(nbd.OPTION.size, self._on_option)

    def _on_option(self, place: int) -> None:
        magic, self._option, length = nbd.OPTION.unpack_from(self.reactor.scratch, place)
        if magic != nbd.OPTION_MAGIC or length > MAX_OPTION:
            self.close("not an option")
            return
        body = bytearray(length)
        self.into(memoryview(body), partial(self._on_option_body, body))

    def _on_option_body(self, body: bytearray) -> None:
        answer = self._OPTIONS.get(self._option)
        if answer is None:
            self._reply(nbd.REP_UNSUPPORTED)
            return
        try:
            answer(self, bytes(body))
        except (struct.error, UnicodeDecodeError):
            self._reply(nbd.REP_INVALID)

    def _reply(self, kind: int, body: bytes = b"") -> None:
        head = nbd.OPTION_REPLY.pack(nbd.OPTION_REPLY_MAGIC, self._option, kind, len(body))
        self.send(head + body)

    def _open_by_name(self, body: bytes) -> None:
        device = self._exports.find(body.decode())
        if device is None:
            self.close("no such export")
            return
        self.send(struct.pack(">QH", device.size, device.flags) + self._pad)
        self._serve(device)

    def _abort(self, _body: bytes) -> None:
        self._reply(nbd.REP_ACK)
        self.push()
        self.close("the client gave up")

    def _list(self, _body: bytes) -> None:
        for name in self._exports.names():
            encoded = name.encode()
            self._reply(nbd.REP_SERVER, struct.pack(">I", len(encoded)) + encoded)
        self._reply(nbd.REP_ACK)

    def _open(self, body: bytes) -> None:
        device = self._exports.find(_first_string(body).decode())
        if device is None:
            self._reply(nbd.REP_UNKNOWN)
            return
        flags = device.flags | (nbd.SENDS_DF if self._structured else 0)
        self._reply(nbd.REP_INFO, struct.pack(">HQH", nbd.INFO_EXPORT, device.size, flags))
        sizes = struct.pack(">HIII", nbd.INFO_BLOCK_SIZE, 1, 4096, nbd.MAX_PAYLOAD)
        self._reply(nbd.REP_INFO, sizes)
        self._reply(nbd.REP_ACK)
        if self._option == nbd.OPT_GO:
            self._serve(device)

    def _use_structured(self, body: bytes) -> None:
        if body:
            self._reply(nbd.REP_INVALID)
            return
        self._structured = True
        self._reply(nbd.REP_ACK)

    def _choose_contexts(self, body: bytes) -> None:
        name = _first_string(body)
        queries = _strings(body[4 + len(name) :])
        if not self._structured or self._exports.find(name.decode()) is None:
            self._reply(nbd.REP_INVALID)
            return
        listing = self._option == nbd.OPT_LIST_META
        wanted = ALLOCATION in queries or (listing and (not queries or b"base:" in queries))
        if not listing:
            self._allocation = wanted
        if wanted:
            self._reply(nbd.REP_META, struct.pack(">I", nbd.META_ALLOCATION_ID) + ALLOCATION)
        self._reply(nbd.REP_ACK)

    def _ask_to_own(self, _body: bytes) -> None:
        self._own_asked = True
        self._reply(nbd.REP_ACK)

    def _serve(self, device: nbd.Device) -> None:
        if self._own_asked:
            self._exports.disconnect(device, owners_only=True)
            self.owns = True
        self.device = device
        self.want(nbd.REQUEST.size, self._on_request)

    _OPTIONS = {  # noqa: RUF012 (a table of the class's own methods)
        nbd.OPT_EXPORT_NAME: _open_by_name,
        nbd.OPT_ABORT: _abort,
        nbd.OPT_LIST: _list,
        nbd.OPT_INFO: _open,
        nbd.OPT_GO: _open,
        nbd.OPT_STRUCTURED_REPLY: _use_structured,
        nbd.OPT_LIST_META: _choose_contexts,
        nbd.OPT_SET_META: _choose_contexts,
        nbd.OPT_OWN: _ask_to_own,
    }

    # -- requests

    def _on_request(self, place: int) -> None:
        magic, flags, command, cookie, offset, length = nbd.REQUEST.unpack_from(
            self.reactor.scratch, place
        )
        if magic != nbd.REQUEST_MAGIC:
            self.close("not a request")
        elif command == nbd.WRITE:
            if length > nbd.MAX_PAYLOAD:
                self.close("a write that is too long")
                return
            data = bytearray(length)
            self._request = (flags, cookie, offset, length, data)
            self.into(memoryview(data), self._on_payload)
        elif command == nbd.DISCONNECT:
            self.close("the client said goodbye")
        else:
            self._submit(command, flags, cookie, offset, length, None)

    def _on_payload(self) -> None:
        flags, cookie, offset, length, data = self._request
        self._submit(nbd.WRITE, flags, cookie, offset, length, data)

    def _submit(
        self, command: int, flags: int, cookie: int, offset: int, length: int, data: Any
    ) -> None:  # noqa: PLR0917
        device = self.device
        if device is None:
            return
        error = self._refusal(device, command, offset, length)
        if error:
            self._answer(command, cookie, 0, offset, error, None)
            return
        weight = length if command in {nbd.READ, nbd.WRITE} else 0
        self._under_way += weight
        if self._under_way > BUSY_BYTES:
            self.pause()
        answer = partial(self._answer, command, cookie, weight, offset)
        device.submit(command, offset, length, data, flags, answer)

    def _refusal(self, device: nbd.Device, command: int, offset: int, length: int) -> int:
        if command == nbd.FLUSH:
            return 0
        if command not in SERVED or not length or offset + length > device.size:
            return errno.EINVAL
        if command in MODIFIES and device.flags & nbd.READ_ONLY:
            return errno.EPERM
        if command == nbd.READ and length > nbd.MAX_PAYLOAD:
            return errno.EINVAL
        return errno.EINVAL if command == nbd.BLOCK_STATUS and not self._allocation else 0

    def _answer(
        self, command: int, cookie: int, weight: int, offset: int, error: int, data: Any
    ) -> None:  # noqa: PLR0917
        if self.closed:
            return
        self._under_way -= weight
        if self._paused and self._under_way < BUSY_BYTES // 2:
            self.resume()
        if command == nbd.READ:
            if self._structured:
                self._answer_chunk(cookie, offset, error, data)
            elif error:
                self.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, error, cookie))
            else:
                self.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, cookie), data)
        elif command == nbd.BLOCK_STATUS and not error:
            body = struct.pack(">I", nbd.META_ALLOCATION_ID) + b"".join(
                struct.pack(">II", length, state) for length, state in data
            )
            self.send(_chunk(nbd.CHUNK_STATUS, cookie, len(body)) + body)
        elif command == nbd.BLOCK_STATUS:
            self._answer_chunk(cookie, offset, error, None)
        else:
            self.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, error, cookie))

    def _answer_chunk(self, cookie: int, offset: int, error: int, data: Any) -> None:
        if error:
            self.send(_chunk(nbd.CHUNK_ERROR + 1, cookie, 6) + struct.pack(">IH", error, 0))
        else:
            head = _chunk(nbd.CHUNK_DATA, cookie, 8 + len(data))
            self.send(head + struct.pack(">Q", offset), data)


def _chunk(kind: int, cookie: int, length: int) -> bytes:
    return nbd.CHUNK.pack(nbd.CHUNK_MAGIC, nbd.CHUNK_DONE, kind, cookie, length)


def _first_string(body: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", body)
    if 4 + length > len(body):
        raise struct.error("a string longer than its option")
    return body[4 : 4 + length]


def _strings(body: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">I", body)
    strings = []
    place = 4
    for _ in range(count):
        strings.append(_first_string(body[place:]))
        place += 4 + len(strings[-1])
    return strings
