"""The mirror mark beside each extent, and where a disk's SUPER extent keeps it and the rest."""

import struct
import zlib
from typing import NamedTuple

GB = 1 << 30
MIB = 1 << 20
LABEL_BYTES = 4096
GENERATIONS_AT = 1 * MIB
MARKS_AT = 64 * MIB
MARK_BYTES = 4096
LARGEST_DISK_GB = (GB - MARKS_AT) // MARK_BYTES

_MARK = struct.Struct("<8sIIII")
_MARK_MAGIC = b"VASMARK1"


class Mark(NamedTuple):
    """What a head last said about a replica; a replica that no head ever wrote is clean."""

    epoch: int = 0
    events: int = 0
    clean: bool = True


def mark_offset(capacity_gb: int, offset_gb: int) -> int:
    """Tell where on its disk the mark block of the extent at `offset_gb` lies."""
    return (capacity_gb - 1) * GB + MARKS_AT + offset_gb * MARK_BYTES


def pack_mark(mark: Mark) -> bytes:
    """Make the block that follows an extent."""
    body = _MARK.pack(_MARK_MAGIC, mark.epoch, mark.events, int(mark.clean), 0)[:-4]
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(MARK_BYTES, b"\0")


def unpack_mark(block: bytes | bytearray | memoryview) -> Mark:
    """Read a mark block; one that is not whole says nothing."""
    magic, epoch, events, clean, crc = _MARK.unpack_from(block)
    if magic != _MARK_MAGIC or crc != zlib.crc32(bytes(block[: _MARK.size - 4])):
        return Mark()
    return Mark(epoch, events, bool(clean))
