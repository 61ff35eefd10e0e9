"""Generic netlink: messages of attributes to a family of the kernel, and what it tells by itself.

The layout is that of linux/netlink.h and linux/genetlink.h; numbers are in the host's byte order.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence number, port."""
GENERIC = struct.Struct("=BBH")
"""Command, version, reserved."""
ATTRIBUTE = struct.Struct("=HH")
"""Length with this header, type."""
ERROR = struct.Struct("=i")

ERROR_TYPE = 2
REQUEST, ACKNOWLEDGE = 1, 4
NESTED, TYPE_MASK = 0x8000, 0x3FFF

CONTROLLER = 16
GET_FAMILY = 3
FAMILY_ID, FAMILY_NAME, FAMILY_GROUPS = 1, 2, 7
GROUP_ID = 2

SOL_NETLINK = 270
ADD_MEMBERSHIP = 1
RECEIVED_BYTES = 64 << 10
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NetlinkMessage:
    """One message of a family."""

    command: int
    attributes: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class GenericFamily:
    """A family of the kernel that runs, and the groups to which it tells things by itself."""

    number: int
    groups: tuple[int, ...]


def attribute(kind: int, content: bytes) -> bytes:
    """Pack an attribute; the next one begins at a multiple of four bytes."""
    size = ATTRIBUTE.size + len(content)
    return ATTRIBUTE.pack(size, kind) + content + bytes(-size % 4)


def u32(kind: int, value: int) -> bytes:
    """Pack an attribute that is a number of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def u64(kind: int, value: int) -> bytes:
    """Pack an attribute that is a number of 64 bits."""
    return attribute(kind, struct.pack("=Q", value))


def text(kind: int, value: str) -> bytes:
    """Pack an attribute that is a string."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """Pack an attribute that is made of others."""
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(content: bytes) -> dict[int, bytes]:
    """Take attributes apart; of those of one type the last one counts."""
    return dict(_attributes(content))


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    while len(content) >= ATTRIBUTE.size:
        size, kind = ATTRIBUTE.unpack_from(content)
        if size < ATTRIBUTE.size:
            return
        yield kind & TYPE_MASK, content[ATTRIBUTE.size : size]
        content = content[-(-size // 4) * 4 :]


def request(family: int, command: int, sequence: int, content: bytes) -> bytes:
    """Pack a message that wants an acknowledgement."""
    size = HEADER.size + GENERIC.size + len(content)
    header = HEADER.pack(size, family, REQUEST | ACKNOWLEDGE, sequence, 0)
    return header + GENERIC.pack(command, 1, 0) + content


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Take a datagram apart: sequence number, type and content of each message."""
    while len(datagram) >= HEADER.size:
        size, kind, _, sequence, _ = HEADER.unpack_from(datagram)
        if size < HEADER.size:
            return
        yield sequence, kind, datagram[HEADER.size : size]
        datagram = datagram[-(-size // 4) * 4 :]


def message(content: bytes) -> NetlinkMessage:
    """Take the content of a family's message apart."""
    command, _, _ = GENERIC.unpack_from(content)
    return NetlinkMessage(command, attributes(content[GENERIC.size :]))


class Channel:
    """A socket to the kernel. One thread at a time may use it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, CONTROLLER)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, family: int, command: int, content: bytes) -> NetlinkMessage | None:
        """Send a request and wait for its end; gives the answer, if it has one, or an OSError."""
        self._socket.settimeout(ANSWER_SECONDS)
        self._sequence += 1
        self._socket.send(request(family, command, self._sequence, content))
        answer: NetlinkMessage | None = None
        while True:
            for sequence, kind, body in messages(self._socket.recv(RECEIVED_BYTES)):
                if sequence != self._sequence:
                    continue
                if kind != ERROR_TYPE:
                    answer = message(body)
                    continue
                (error,) = ERROR.unpack_from(body)
                if error:
                    raise OSError(-error, os.strerror(-error))
                return answer

    def family(self, name: str) -> GenericFamily:
        """Find a family; FileNotFoundError where the kernel has none of that name."""
        answer = self.ask(CONTROLLER, GET_FAMILY, text(FAMILY_NAME, name))
        told = {} if answer is None else answer.attributes
        (number,) = struct.unpack("=H", told[FAMILY_ID])
        groups = (attributes(group) for group in attributes(told.get(FAMILY_GROUPS, b"")).values())
        numbers = tuple(struct.unpack("=I", group[GROUP_ID])[0] for group in groups)
        return GenericFamily(number, numbers)

    def listen(self, family: GenericFamily) -> None:
        """Hear what the family tells by itself from now on."""
        self._socket.settimeout(None)
        for group in family.groups:
            self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)

    def heard(self) -> list[NetlinkMessage]:
        """Wait for what the family tells; an OSError of ENOBUFS means that some of it is lost."""
        return [
            message(body)
            for _, kind, body in messages(self._socket.recv(RECEIVED_BYTES))
            if kind > CONTROLLER
        ]
