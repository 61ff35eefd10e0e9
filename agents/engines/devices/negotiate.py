"""The client's half of an NBD handshake on a unix socket, after which the kernel takes over."""

import errno
import os
import socket
import struct
from dataclasses import dataclass

from agents.engines.userspace.nbd import messages

EXPORT_INFO = struct.Struct(">HQH")
MAX_REPLY = 1 << 16


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A connection to one export: what is sent next are requests."""

    connection: socket.socket
    size: int
    flags: int


def negotiate(path: str, export: str, seconds: float) -> Negotiated:
    """Connect and choose an export; OSError where nobody listens, or serves it, in that time."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(seconds)
        connection.connect(path)
        _greet(connection)
        size, flags = _go(connection, export.encode())
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return Negotiated(connection, size, flags)


def _greet(connection: socket.socket) -> None:
    greeting = _receive(connection, messages.GREETING.size)
    magic, option_magic, flags = messages.GREETING.unpack(greeting)
    if magic != messages.NBD_MAGIC or option_magic != messages.OPTION_MAGIC:
        raise OSError(errno.EPROTO, "the socket does not speak NBD")
    ours = messages.FIXED_NEWSTYLE | messages.NO_ZEROES
    connection.sendall(struct.pack(">I", flags & ours))


def _go(connection: socket.socket, export: bytes) -> tuple[int, int]:
    wish = struct.pack(">I", len(export)) + export + struct.pack(">H", 0)
    head = messages.OPTION.pack(messages.OPTION_MAGIC, messages.OPT_GO, len(wish))
    connection.sendall(head + wish)
    size = flags = -1
    while True:
        magic, _, kind, length = messages.OPTION_REPLY.unpack(
            _receive(connection, messages.OPTION_REPLY.size)
        )
        if magic != messages.OPTION_REPLY_MAGIC or length > MAX_REPLY:
            raise OSError(errno.EPROTO, "the socket's answer is broken")
        reply = _receive(connection, length)
        if kind & messages.REP_ERROR:
            raise OSError(errno.ENOENT, f"{export.decode()} is not served there")
        if kind == messages.REP_ACK:
            break
        if kind == messages.REP_INFO and len(reply) == EXPORT_INFO.size:
            what, told, told_flags = EXPORT_INFO.unpack(reply)
            if what == messages.INFO_EXPORT:
                size, flags = told, told_flags
    if size < 0:
        raise OSError(errno.EPROTO, "the socket tells no size")
    return size, flags


def _receive(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        piece = connection.recv(length - len(content))
        if not piece:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        content += piece
    return content
