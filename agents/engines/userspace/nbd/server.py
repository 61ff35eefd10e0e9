"""The serving end of NBD: listeners, and requests answered out of order."""

import errno
import os
import socket
import struct
from functools import partial
from typing import Any

from agents.engines.userspace.loop.reactor import IN, Reactor
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.handshake import ExportTable, Handshake

BUSY_BYTES = 64 << 20
"""A client with this much under way is not read from until half of it is answered."""

MODIFIES = frozenset((messages.WRITE, messages.TRIM, messages.WRITE_ZEROES))
SERVED = frozenset(
    (
        messages.READ,
        messages.WRITE,
        messages.FLUSH,
        messages.TRIM,
        messages.WRITE_ZEROES,
        messages.BLOCK_STATUS,
    )
)

Address = tuple[str, int] | str


class Listener:
    """Accepts connections on one address, or on the path of a unix socket."""

    def __init__(self, reactor: Reactor, address: Address, exports: ExportTable) -> None:
        self._reactor = reactor
        self._address = address
        self._exports = exports
        if isinstance(address, str):
            self._socket = _listen_on_path(address)
        else:
            self._socket = socket.create_server(address, backlog=4096)
        self._socket.settimeout(0)
        reactor.watch(self._socket.fileno(), IN, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._reactor.forget(self._socket.fileno())
        self._socket.close()
        if isinstance(self._address, str):
            os.unlink(self._address)

    def _accept(self, _mask: int) -> None:
        for _ in range(64):
            try:
                sock, _peer = self._socket.accept()
            except OSError:
                return
            ServerConnection(self._reactor, sock, self._exports)


def _listen_on_path(path: str) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    return listener


class ServerConnection(Handshake):
    """One client of one device."""

    def __init__(self, reactor: Reactor, sock: socket.socket, exports: ExportTable) -> None:
        self._request: tuple[int, int, int, int, bytearray] = (0, 0, 0, 0, bytearray())
        self._under_way = 0
        super().__init__(reactor, sock, exports)

    def serve(self) -> None:
        """Go over to requests."""
        self.want(messages.REQUEST.size, self._on_request)

    def _on_request(self, place: int) -> None:
        magic, flags, command, cookie, offset, length = messages.REQUEST.unpack_from(
            self.reactor.scratch, place
        )
        if magic != messages.REQUEST_MAGIC:
            self.close("not a request")
        elif command == messages.WRITE:
            if length > messages.MAX_PAYLOAD:
                self.close("a write that is too long")
                return
            data = bytearray(length)
            self._request = (flags, cookie, offset, length, data)
            self.into(memoryview(data), self._on_payload)
        elif command == messages.DISCONNECT:
            self.close("the client said goodbye")
        else:
            self._submit(command, flags, cookie, offset, length, None)

    def _on_payload(self) -> None:
        flags, cookie, offset, length, data = self._request
        self._submit(messages.WRITE, flags, cookie, offset, length, data)

    def _submit(
        self, command: int, flags: int, cookie: int, offset: int, length: int, data: Any
    ) -> None:
        device = self.device
        if device is None:
            return
        error = self._refusal(device, command, offset, length)
        if error:
            self._answer(command, cookie, 0, offset, error, None)
            return
        weight = length if command in {messages.READ, messages.WRITE} else 0
        self._under_way += weight
        if self._under_way > BUSY_BYTES:
            self.pause()
        answer = partial(self._answer, command, cookie, weight, offset)
        device.submit(command, offset, length, data, flags, answer)

    def _refusal(self, device: messages.BlockDevice, command: int, offset: int, length: int) -> int:
        if command == messages.FLUSH:
            return 0
        if command not in SERVED or not length or offset + length > device.size:
            return errno.EINVAL
        if command in MODIFIES and device.flags & messages.READ_ONLY:
            return errno.EPERM
        if command == messages.READ and length > messages.MAX_PAYLOAD:
            return errno.EINVAL
        return errno.EINVAL if command == messages.BLOCK_STATUS and not self.allocation else 0

    def _answer(
        self, command: int, cookie: int, weight: int, offset: int, error: int, data: Any
    ) -> None:
        if self.closed:
            return
        self._under_way -= weight
        if self._paused and self._under_way < BUSY_BYTES // 2:
            self.resume()
        if command == messages.READ:
            if self.structured:
                self._answer_chunk(cookie, offset, error, data)
            elif error:
                self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, error, cookie))
            else:
                self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, 0, cookie), data)
        elif command == messages.BLOCK_STATUS and not error:
            body = struct.pack(">I", messages.META_ALLOCATION_ID) + b"".join(
                struct.pack(">II", length, state) for length, state in data
            )
            self.send(_chunk(messages.CHUNK_STATUS, cookie, len(body)) + body)
        elif command == messages.BLOCK_STATUS:
            self._answer_chunk(cookie, offset, error, None)
        else:
            self.send(messages.SIMPLE_REPLY.pack(messages.SIMPLE_REPLY_MAGIC, error, cookie))

    def _answer_chunk(self, cookie: int, offset: int, error: int, data: Any) -> None:
        if error:
            self.send(_chunk(messages.CHUNK_ERROR + 1, cookie, 6) + struct.pack(">IH", error, 0))
        else:
            head = _chunk(messages.CHUNK_DATA, cookie, 8 + len(data))
            self.send(head + struct.pack(">Q", offset), data)


def _chunk(kind: int, cookie: int, length: int) -> bytes:
    return messages.CHUNK.pack(messages.CHUNK_MAGIC, messages.CHUNK_DONE, kind, cookie, length)
