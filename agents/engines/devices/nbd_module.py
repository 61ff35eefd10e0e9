"""What the kernel's nbd module can be told, by generic netlink (linux/nbd-netlink.h)."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agents.engines.devices import netlink
from agents.engines.devices.netlink import Channel, GenericFamily
from agents.ondisk import SECTOR

FAMILY = "nbd"
CONNECT, DISCONNECT, RECONFIGURE, LINK_DEAD = 1, 2, 3, 4
INDEX, SIZE, BLOCK_SIZE, TIMEOUT, SERVER_FLAGS, CLIENT_FLAGS, SOCKETS, DEAD_TIMEOUT = range(1, 9)
BACKEND = 10
SOCKET_ITEM, SOCKET_DESCRIPTOR = 1, 1
DESTROY_ON_DISCONNECT, DISCONNECT_ON_CLOSE = 1, 2

BLOCK_BYTES = SECTOR
"""The block size of our devices: images of disks that were made elsewhere fit, and any other."""
NEVER = 0
"""As a request's timeout: its connection is never given up while it lives."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A device that is to be made."""

    index: int
    backend: str
    size: int
    flags: int
    dead_seconds: int

    def pack(self, descriptor: int) -> bytes:
        """Pack it with the connection that it goes over."""
        return b"".join(
            (
                netlink.u32(INDEX, self.index),
                netlink.u64(SIZE, self.size),
                netlink.u64(BLOCK_SIZE, BLOCK_BYTES),
                netlink.u64(TIMEOUT, NEVER),
                netlink.u64(SERVER_FLAGS, self.flags),
                netlink.u64(CLIENT_FLAGS, DESTROY_ON_DISCONNECT),
                _sockets(descriptor),
                netlink.u64(DEAD_TIMEOUT, self.dead_seconds),
                netlink.text(BACKEND, self.backend),
            )
        )


def _sockets(descriptor: int) -> bytes:
    return netlink.nested(
        SOCKETS, netlink.nested(SOCKET_ITEM, netlink.u32(SOCKET_DESCRIPTOR, descriptor))
    )


def connect(device: Connect, connection: socket.socket) -> None:
    """Make a device; EBUSY or EEXIST if there is one of that number."""
    _tell(CONNECT, device.pack(connection.fileno()))


def reconnect(index: int, backend: str, connection: socket.socket) -> None:
    """Give a device a connection in place of one that is dead; of no use where none is."""
    _reconfigure(index, backend, _sockets(connection.fileno()))


def disconnect_once_closed(index: int, backend: str, *, wanted: bool) -> None:
    """Have a device go, or not, at the moment when nobody has it open any more."""
    flags = DESTROY_ON_DISCONNECT | (DISCONNECT_ON_CLOSE if wanted else 0)
    _reconfigure(index, backend, netlink.u64(CLIENT_FLAGS, flags))


def disconnect(index: int) -> None:
    """Take a device's connection away: what is under way fails, and all that comes."""
    _tell(DISCONNECT, netlink.u32(INDEX, index))


def _reconfigure(index: int, backend: str, more: bytes) -> None:
    _tell(RECONFIGURE, netlink.u32(INDEX, index) + more + netlink.text(BACKEND, backend))


def _tell(command: int, content: bytes) -> None:
    with Channel() as channel:
        channel.ask(channel.family(FAMILY).number, command, content)


def why_unusable() -> str:
    """Say in a sentence why this process can make no devices; "" if it can."""
    try:
        with Channel() as channel:
            family = channel.family(FAMILY)
            # Nobody has a device of this number: who may ask learns that, others that they may not.
            absent = netlink.u32(INDEX, 0xFFFFFFFF)
            channel.ask(family.number, DISCONNECT, absent)
    except FileNotFoundError:
        return "the kernel has no nbd: load it with `modprobe nbd`"
    except PermissionError:
        return "only root may make block devices (CAP_SYS_ADMIN)"
    except OSError as error:
        return "" if error.errno == errno.EINVAL else f"the kernel's nbd does not answer: {error}"
    return ""


class DeadLinks:
    """Hears of connections that ended."""

    def __init__(self) -> None:
        self._channel = Channel()
        family: GenericFamily = self._channel.family(FAMILY)
        self._channel.listen(family)

    def wait(self) -> Iterator[int]:
        """Wait for the next ones; gives the devices' numbers. ENOBUFS: some were missed."""
        for told in self._channel.heard():
            if told.command == LINK_DEAD and INDEX in told.attributes:
                yield from struct.unpack("=I", told.attributes[INDEX])
