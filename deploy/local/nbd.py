"""A small NBD client: opens a device through its link, as any client on the head would.

It shares no code with the engine on purpose: the judge of whether a byte was lost must not have the
faults of what it judges.
"""

import errno
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

HELLO = struct.Struct(">8sQH")
OPTION = struct.Struct(">QII")
OPTION_REPLY = struct.Struct(">QIII")
EXPORT_INFO = struct.Struct(">HQH")
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")
OPTION_MAGIC = 0x49484156454F5054
REPLY_MAGIC = 0x67446698
REQUEST_MAGIC = 0x25609513
FIXED_NO_ZEROES = 3
GO = 7
ACK, INFO, FAILED = 1, 3, 1 << 31
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
READ_ONLY = 2


class AttachedDevice:
    """An open device; one request at a time. An OSError carries the server's errno."""

    def __init__(self, link: Path, *, timeout: float = 60) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            # The socket's own path is short; the link's may not fit the kernel's limit.
            self._socket.connect(os.path.realpath(link))
            self.size, flags = self._negotiate()
        except BaseException:
            self._socket.close()
            raise
        self.read_only = bool(flags & READ_ONLY)

    def read(self, offset: int, length: int) -> bytes:
        self._request(READ, offset, length)
        return self._receive(length)

    def write(self, offset: int, data: bytes) -> None:
        """On return the data is on every good replica."""
        self._request(WRITE, offset, len(data), data, flags=FUA)

    def flush(self) -> None:
        self._request(FLUSH, 0, 0)

    def close(self) -> None:
        try:
            self._socket.sendall(REQUEST.pack(REQUEST_MAGIC, 0, DISCONNECT, 0, 0, 0))
        except OSError:
            pass  # the server is gone, and so is the connection
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _negotiate(self) -> tuple[int, int]:
        magic, _, _ = HELLO.unpack(self._receive(HELLO.size))
        if magic != b"NBDMAGIC":
            raise OSError(errno.EPROTO, "the other side does not speak NBD")
        wish = struct.pack(">IH", 0, 0)  # the default export, no information in particular
        self._socket.sendall(
            struct.pack(">I", FIXED_NO_ZEROES) + OPTION.pack(OPTION_MAGIC, GO, len(wish)) + wish
        )
        size = flags = 0
        while True:
            _, _, kind, length = OPTION_REPLY.unpack(self._receive(OPTION_REPLY.size))
            body = self._receive(length)
            if kind & FAILED:
                raise OSError(errno.ENXIO, f"the device was refused: {body.decode()!r}")
            if kind == ACK:
                return size, flags
            if kind == INFO and body[:2] == b"\0\0":
                _, size, flags = EXPORT_INFO.unpack(body)

    def _request(
        self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0
    ) -> None:
        self._socket.sendall(REQUEST.pack(REQUEST_MAGIC, flags, kind, 1, offset, length) + data)
        magic, error, _ = REPLY.unpack(self._receive(REPLY.size))
        if magic != REPLY_MAGIC:
            raise OSError(errno.EPROTO, "the other side answered out of order")
        if error:
            raise OSError(error, os.strerror(error))

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "the device was closed")
            view = view[count:]
        return bytes(data)
