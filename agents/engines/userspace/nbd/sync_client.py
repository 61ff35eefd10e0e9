"""An NBD client that does one thing at a time: what copying an extent between servers needs."""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from agents.engines.userspace.nbd import messages

EXPORT_INFO = struct.Struct(">HQH")
OFFSET = struct.Struct(">Q")
STATUS = struct.Struct(">II")
DESCRIPTION = struct.pack(">H", messages.INFO_DESCRIPTION)
CONTEXT_BYTES = 4
MAX_REPLY = 1 << 20
"""Of what is not data: option replies and block status."""


class BlockingClient:
    """A connection to one export; any failure is an OSError.

    `instance` names the life of the process that serves it, where that tells; so does the failure
    of one that does not serve it.
    """

    def __init__(self, addresses: Sequence[str], port: int, export: str, timeout: float) -> None:
        self.instance = ""
        self._socket = _connect(addresses, port, timeout)
        try:
            self._greet()
            self._option(messages.OPT_STRUCTURED_REPLY, b"", optional=True)
            self._tells_holes = self._ask_for_holes(export.encode())
            self.size = self._go(export.encode())
        except BaseException:
            self._socket.close()
            raise

    def read(self, offset: int, length: int) -> bytearray:
        """Read a range; holes read as zeros."""
        self._request(messages.READ, offset, length)
        content = bytearray(length)
        while self._read_part(offset, content):
            pass
        return content

    def segments(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Tell start, end and whether it reads as zeros, of each part of a range below 4 GiB."""
        end = offset + length
        while offset < end:
            for size, flags in self._status(offset, end - offset):
                stop = min(offset + size, end)
                yield offset, stop, bool(flags & messages.ZERO)
                offset = stop

    def close(self) -> None:
        """Say good-bye and hang up."""
        try:
            self._send(
                messages.REQUEST.pack(messages.REQUEST_MAGIC, 0, messages.DISCONNECT, 0, 0, 0)
            )
        except OSError:
            pass  # hung up already
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

    def _greet(self) -> None:
        magic, option_magic, flags = messages.GREETING.unpack(self._receive(messages.GREETING.size))
        if magic != messages.NBD_MAGIC or option_magic != messages.OPTION_MAGIC:
            raise OSError(errno.EPROTO, "the source does not speak NBD")
        self._send(struct.pack(">I", flags & (messages.FIXED_NEWSTYLE | messages.NO_ZEROES)))

    def _ask_for_holes(self, export: bytes) -> bool:
        query = messages.META_ALLOCATION.encode()
        wish = struct.pack(">I", len(export)) + export
        wish += struct.pack(">II", 1, len(query)) + query
        replies = self._option(messages.OPT_SET_META, wish, optional=True)
        return any(kind == messages.REP_META for kind, _ in replies)

    def _go(self, export: bytes) -> int:
        wish = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
        size = -1
        for kind, content in self._option(messages.OPT_GO, wish):
            if kind == messages.REP_INFO and len(content) == EXPORT_INFO.size:
                what, told, _ = EXPORT_INFO.unpack(content)
                size = told if what == messages.INFO_EXPORT else size
            elif kind == messages.REP_INFO and content.startswith(DESCRIPTION):
                self.instance = content.removeprefix(DESCRIPTION).decode(errors="replace")
        if size < 0:
            raise OSError(errno.EPROTO, "the source tells no size")
        return size

    def _option(
        self, option: int, content: bytes, *, optional: bool = False
    ) -> list[tuple[int, bytes]]:
        self._send(messages.OPTION.pack(messages.OPTION_MAGIC, option, len(content)) + content)
        replies: list[tuple[int, bytes]] = []
        while True:
            magic, _, kind, length = messages.OPTION_REPLY.unpack(
                self._receive(messages.OPTION_REPLY.size)
            )
            if magic != messages.OPTION_REPLY_MAGIC or length > MAX_REPLY:
                raise OSError(errno.EPROTO, "the source's option reply is broken")
            reply = bytes(self._receive(length))
            if kind & messages.REP_ERROR and not optional:
                said = f" ({reply.decode(errors='replace')})" if reply else ""
                raise OSError(errno.ENOENT, f"the source does not serve that export{said}")
            if kind & messages.REP_ERROR or kind == messages.REP_ACK:
                return replies
            replies.append((kind, reply))

    def _request(self, command: int, offset: int, length: int) -> None:
        self._send(messages.REQUEST.pack(messages.REQUEST_MAGIC, 0, command, 0, offset, length))

    def _status(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Ask for the sizes and flags of the first parts of a range; at least one."""
        if not self._tells_holes:
            return [(length, 0)]
        self._request(messages.BLOCK_STATUS, offset, length)
        found: list[tuple[int, int]] = []
        more = True
        while more:
            magic, flags, kind, _ = messages.CHUNK_START.unpack(
                self._receive(messages.CHUNK_START.size)
            )
            reply = self._reply_of(magic, kind)
            if kind == messages.CHUNK_STATUS and len(reply) % STATUS.size == CONTEXT_BYTES:
                found += STATUS.iter_unpack(reply[CONTEXT_BYTES:])
            more = not flags & messages.CHUNK_DONE
        if not found or not all(size for size, _ in found):
            raise OSError(errno.EPROTO, "the source tells no block status")
        return found

    def _read_part(self, offset: int, content: bytearray) -> bool:
        """Receive one reply; tell whether more belong to the request."""
        header = bytes(self._receive(messages.SIMPLE_REPLY.size))
        magic, code, _ = messages.SIMPLE_REPLY.unpack(header)
        if magic == messages.SIMPLE_REPLY_MAGIC:
            if code:
                raise OSError(code, os.strerror(code))
            self._receive_into(memoryview(content))
            return False
        magic, flags, kind, _ = messages.CHUNK_START.unpack(header)
        if kind == messages.CHUNK_DATA:
            self._read_data(magic, offset, content)
        else:
            self._reply_of(magic, kind)  # a hole, or the end: the content is zero already
        return not flags & messages.CHUNK_DONE

    def _read_data(self, magic: int, offset: int, content: bytearray) -> None:
        length = self._length_of(magic) - OFFSET.size
        (at,) = OFFSET.unpack(self._receive(OFFSET.size))
        start = at - offset
        if length < 0 or start < 0 or start + length > len(content):
            raise OSError(errno.EPROTO, "the source sent data nobody asked for")
        self._receive_into(memoryview(content)[start : start + length])

    def _reply_of(self, magic: int, kind: int) -> bytes:
        """Receive a chunk that is not data; an error in it is raised."""
        length = self._length_of(magic)
        if length > MAX_REPLY:
            raise OSError(errno.EPROTO, "the source's reply is too long")
        reply = bytes(self._receive(length))
        if kind & messages.CHUNK_ERROR:
            (code,) = struct.unpack(">I", reply[:4].rjust(4, b"\0"))
            raise OSError(code or errno.EIO, os.strerror(code or errno.EIO))
        return reply

    def _length_of(self, magic: int) -> int:
        if magic != messages.CHUNK_MAGIC:
            raise OSError(errno.EPROTO, "the source's reply is broken")
        return int.from_bytes(self._receive(4))

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _receive(self, length: int) -> bytearray:
        content = bytearray(length)
        self._receive_into(memoryview(content))
        return content

    def _receive_into(self, view: memoryview) -> None:
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise OSError(errno.ECONNRESET, "the source hung up")
            view = view[count:]


def _connect(addresses: Sequence[str], port: int, timeout: float) -> socket.socket:
    """Connect to the first address that answers."""
    failure = OSError(errno.EDESTADDRREQ, "no address")
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), timeout)
        except OSError as error:
            failure = error
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise failure
