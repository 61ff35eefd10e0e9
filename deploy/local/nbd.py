"""The independent NBD client: what the story and the tests check the engine's bytes with.

It shares no code with the engine, on purpose: a number or a layout that the engine has wrong would
be wrong on both sides, and nobody would notice. So the tree has two blocking clients, this one and
`agents.engines.userspace.nbd.sync_client`, which storage servers copy replicas with; no third.
(`agents.engines.devices.negotiate` shakes hands for the kernel, which is the client then.)
"""

import errno
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

GREETING = struct.Struct(">8sQH")
OPTION = struct.Struct(">QII")
OPTION_REPLY = struct.Struct(">QIII")
EXPORT_INFO = struct.Struct(">HQH")
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
OPTION_MAGIC = 0x49484156454F5054
REPLY_MAGIC = 0x67446698
REQUEST_MAGIC = 0x25609513
FIXED_NO_ZEROES = 3
OPT_GO, OPT_OWN = 7, 0x56410001
ACK, INFO, FAILED = 1, 3, 1 << 31
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES = range(7)
FUA = 1
READ_ONLY = 2

Where = Path | tuple[str, int]


class NbdError(OSError):
    """The server answered a request with an errno."""


class NbdClient:
    """One connection to an export, by a link to its socket or by address; one request at a time."""

    def __init__(
        self, where: Where, export: str = "", timeout: float = 60, *, owns: bool = False
    ) -> None:
        self.socket = _connect(where, timeout)
        self._cookie = 0
        try:
            self.size, flags = self._negotiate(export.encode(), owns=owns)
        except BaseException:
            self.socket.close()
            raise
        self.read_only = bool(flags & READ_ONLY)

    def read(self, offset: int, length: int) -> bytes:
        return self.request(READ, offset, length)

    def write(self, offset: int, data: bytes, flags: int = 0) -> None:
        """On return the data is on every good replica; with FUA it is durable there."""
        self.request(WRITE, offset, len(data), data, flags)

    def flush(self) -> None:
        self.request(FLUSH, 0, 0)

    def trim(self, offset: int, length: int) -> None:
        self.request(TRIM, offset, length)

    def zero(self, offset: int, length: int) -> None:
        self.request(ZEROES, offset, length)

    def close(self) -> None:
        try:
            self.socket.sendall(REQUEST.pack(REQUEST_MAGIC, 0, DISCONNECT, 0, 0, 0))
        except OSError:
            pass  # the server is gone, and so is the connection
        finally:
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def request(
        self, command: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> bytes:
        """Send one request and wait for its reply."""
        self._cookie += 1
        head = REQUEST.pack(REQUEST_MAGIC, flags, command, self._cookie, offset, length)
        self.socket.sendall(head + data)
        magic, error, cookie = REPLY.unpack(self.receive(REPLY.size))
        if (magic, cookie) != (REPLY_MAGIC, self._cookie):
            raise OSError(errno.EPROTO, "the other side answered out of order")
        if error:
            raise NbdError(error, os.strerror(error))
        return self.receive(length) if command == READ else b""

    def receive(self, length: int) -> bytes:
        """Wait for so many bytes."""
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self.socket.recv_into(view)
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "the device was closed")
            view = view[count:]
        return bytes(data)

    def _negotiate(self, export: bytes, *, owns: bool) -> tuple[int, int]:
        magic, _, _ = GREETING.unpack(self.receive(GREETING.size))
        if magic != b"NBDMAGIC":
            raise OSError(errno.EPROTO, "the other side does not speak NBD")
        wish = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
        own = OPTION.pack(OPTION_MAGIC, OPT_OWN, 0) if owns else b""
        go = OPTION.pack(OPTION_MAGIC, OPT_GO, len(wish)) + wish
        self.socket.sendall(struct.pack(">I", FIXED_NO_ZEROES) + own + go)
        size = flags = 0
        while True:
            _, option, kind, length = OPTION_REPLY.unpack(self.receive(OPTION_REPLY.size))
            body = self.receive(length)
            if kind & FAILED:
                why = f"option {option} was refused: {kind & 0xFF} {body.decode()!r}"
                raise ConnectionRefusedError(errno.ECONNREFUSED, why)
            if kind == ACK and option == OPT_GO:
                return size, flags
            if kind == INFO and body[:2] == b"\0\0":
                _, size, flags = EXPORT_INFO.unpack(body)


def _connect(where: Where, timeout: float) -> socket.socket:
    if not isinstance(where, Path):
        return socket.create_connection(where, timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        # The socket's own path is short; the link's may not fit the kernel's limit.
        connection.connect(os.path.realpath(where))
    except BaseException:
        connection.close()
        raise
    return connection
