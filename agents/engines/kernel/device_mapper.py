"""The device mapper, asked by its own ioctls: devices made of pieces of other ones.

No program is started and no library is loaded for it: a volume of many mirrors is made of hundreds
of devices, and to start `dmsetup` takes longer than to make one.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import NamedTuple

from agents.engines.base import EngineError

CONTROL = Path("/dev/mapper/control")
_VERSION = (4, 0, 0)
_HEADER = struct.Struct("=3I2IIiIIIQ128s129s7x")
_SPEC = struct.Struct("=QQiI16s")
_NAMED = struct.Struct("=QI")
_ROOM = 4096
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_UDEV_LEAVE_ALONE = (0x1 | 0x2 | 0x4) << 16
"""Tells udev's rules to make no links by content, and nobody to look for what is on a device."""


class DmCommand(IntEnum):
    """What can be asked."""

    LIST = 2
    CREATE = 3
    REMOVE = 4
    SUSPEND = 6
    STATUS = 7
    LOAD = 9
    TABLE_STATUS = 12
    MESSAGE = 14


class Flag(IntFlag):
    """How it is asked, and what is told."""

    NONE = 0
    READONLY = 1 << 0
    SUSPEND = 1 << 1
    TABLE = 1 << 4
    BUFFER_FULL = 1 << 8
    SKIP_LOCKFS = 1 << 10
    NOFLUSH = 1 << 11
    DEFERRED = 1 << 17


@dataclass(frozen=True, slots=True)
class TablePiece:
    """A range of a device, in sectors: what kind of target it is, and that target's words."""

    sectors: int
    kind: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A device as it is now; `opened` counts who has it open, devices built on it too."""

    name: str
    number: int
    opened: int

    @property
    def node(self) -> str:
        """Where it can be opened; devtmpfs makes it, udev need not."""
        return f"/dev/dm-{os.minor(self.number)}"

    @property
    def words(self) -> str:
        """Its number as tables name devices."""
        return f"{os.major(self.number)}:{os.minor(self.number)}"


class Listed(NamedTuple):
    """A device's number, and how much has happened to it: paths that failed, or are used again."""

    number: int
    events: int


def create(name: str, pieces: Sequence[TablePiece], *, read_only: bool = False) -> Mapped:
    """Make a device; one of that name that is there already gets this table."""
    prepare(name, pieces, read_only=read_only)
    resume(name)
    made = find(name)
    if made is None:
        raise EngineError(errno.EIO, f"the device {name} was made and is not there")
    return made


def prepare(name: str, pieces: Sequence[TablePiece], *, read_only: bool = False) -> None:
    """Make a device that begins once it is resumed."""
    if find(name) is None:
        _ask(DmCommand.CREATE, name, uuid=f"VASTSKY-{name}")
    load(name, pieces, read_only=read_only)


def load(name: str, pieces: Sequence[TablePiece], *, read_only: bool = False) -> None:
    """Give a device another table, which it takes up when it is resumed."""
    body, at = b"", 0
    for piece in pieces:
        words = piece.words.encode() + b"\0"
        words = words.ljust(-(-len(words) // 8) * 8, b"\0")
        body += _SPEC.pack(at, piece.sectors, 0, _SPEC.size + len(words), piece.kind.encode())
        body += words
        at += piece.sectors
    flags = Flag.READONLY if read_only else Flag.NONE
    _ask(DmCommand.LOAD, name, flags=flags, count=len(pieces), body=body)


def suspend(name: str, *, flush: bool = True, freeze: bool = True) -> None:
    """Hold back what comes; what is in flight is waited for, and without `flush` is held, too.

    With `freeze` a file system on it is brought to a state first that needs no repair. EBUSY where
    somebody else has frozen it.
    """
    flags = Flag.SUSPEND if flush else Flag.SUSPEND | Flag.NOFLUSH
    _ask(DmCommand.SUSPEND, name, flags=flags if flush and freeze else flags | Flag.SKIP_LOCKFS)


def resume(name: str) -> None:
    """Go on, with the table that was loaded last."""
    _ask(DmCommand.SUSPEND, name, event=_UDEV_LEAVE_ALONE)


def remove(name: str, *, when_closed: bool = False) -> None:
    """Take a device away, if it is there; EBUSY while it is open, unless it is to go then."""
    flags = Flag.DEFERRED if when_closed else Flag.NONE
    try:
        _ask(DmCommand.REMOVE, name, flags=flags, event=_UDEV_LEAVE_ALONE)
    except EngineError as error:
        if error.errno != errno.ENXIO:
            raise


def message(name: str, words: str) -> None:
    """Tell a device's first target something."""
    _ask(DmCommand.MESSAGE, name, body=struct.pack("=Q", 0) + words.encode() + b"\0")


def find(name: str) -> Mapped | None:
    """Find a device by its name."""
    try:
        header, _ = _ask(DmCommand.STATUS, name)
    except EngineError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    return Mapped(name, _device(header[10]), header[6])


def status(name: str) -> list[str]:
    """Tell how each piece of a device is, in its target's words."""
    return [words for _, words in _pieces(name, Flag.NONE)]


def table(name: str) -> list[str]:
    """Tell of what a device is made: each piece's kind and words."""
    return [f"{kind} {words}" for kind, words in _pieces(name, Flag.TABLE)]


def listing() -> dict[str, Listed]:
    """List all devices by name."""
    _, data = _ask(DmCommand.LIST, "")
    return dict(listed(data))


def listed(data: bytes) -> Iterator[tuple[str, Listed]]:
    """Read what the kernel says when it lists its devices."""
    at = 0
    while at + _NAMED.size <= len(data):
        device, following = _NAMED.unpack_from(data, at)
        if device:
            end = data.index(b"\0", at + _NAMED.size)
            name = data[at + _NAMED.size : end].decode()
            (events,) = struct.unpack_from("=I", data, at + -(-(end + 1 - at) // 8) * 8)
            yield name, Listed(_device(device), events)
        if not following:
            return
        at += following


def _pieces(name: str, flags: Flag) -> Iterator[tuple[str, str]]:
    header, data = _ask(DmCommand.TABLE_STATUS, name, flags=flags)
    at = 0
    for _ in range(header[5]):
        _, _, _, following, kind = _SPEC.unpack_from(data, at)
        words = data[at + _SPEC.size :].split(b"\0", 1)[0].decode()
        yield kind.rstrip(b"\0").decode(), words
        at = following


def _ask(
    command: DmCommand,
    name: str,
    *,
    uuid: str = "",
    flags: Flag = Flag.NONE,
    count: int = 0,
    event: int = 0,
    body: bytes = b"",
) -> tuple[tuple[int, ...], bytes]:
    """Ask once; the header that comes back, and the data after it."""
    size = _HEADER.size + max(_ROOM, len(body))
    while True:
        said = bytearray(size)
        _HEADER.pack_into(
            said,
            0,
            *_VERSION,
            size,
            _HEADER.size,
            count,
            0,
            flags,
            event,
            0,
            0,
            name.encode(),
            uuid.encode(),
        )
        said[_HEADER.size : _HEADER.size + len(body)] = body
        header = _call(command, name, said)
        if not header[7] & Flag.BUFFER_FULL:
            return header, bytes(said[header[4] : header[3]])
        size *= 4


def _call(command: DmCommand, name: str, said: bytearray) -> tuple[int, ...]:
    """Call the kernel while other threads go on: to suspend a device may wait for one of them.

    `fcntl.ioctl` keeps them from running when it is given more than a kilobyte.
    """
    request = (3 << 30) | (_HEADER.size << 16) | (0xFD << 8) | command
    buffer = (ctypes.c_char * len(said)).from_buffer(said)
    try:
        with CONTROL.open("rb", buffering=0) as control:
            if _LIBC.ioctl(control.fileno(), request, buffer) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
    except OSError as error:
        what = f"device mapper: {command.name.lower()} {name}"
        raise EngineError(error.errno or errno.EIO, f"{what}: {error.strerror}") from None
    return _HEADER.unpack_from(said)


def _device(packed: int) -> int:
    """Read a device's number as the kernel packs it for the device mapper."""
    major = (packed >> 8) & 0xFFF
    minor = (packed & 0xFF) | ((packed >> 12) & 0xFFF00)
    return os.makedev(major, minor)
