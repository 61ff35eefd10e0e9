"""Blocks that tell which write they are of: volume, place, sequence, and a checksum of it all."""

import struct
import zlib

BLOCK = 4096
ZERO = 0
"""The sequence of what was never written, or zeroed: real ones begin at 1."""

_MAGIC = b"VSTHRASH"
_HEADER = struct.Struct("<8sIQQI")


class Foreign(Exception):
    """A block is none that was ever written at its place; the text says what it is."""


def pack(volume: str, block: int, sequence: int) -> bytes:
    """Make the content of a volume's block in one write."""
    if sequence == ZERO:
        return bytes(BLOCK)
    tag = zlib.crc32(volume.encode())
    body = struct.pack("<IQQ", tag, block, sequence) * (BLOCK // 20)
    header = _HEADER.pack(_MAGIC, tag, block, sequence, zlib.crc32(body))
    return (header + body)[:BLOCK]


def unpack(volume: str, block: int, data: bytes) -> int:
    """Tell the sequence of a block that was read; Foreign where it is torn or another's."""
    if not any(data):
        return ZERO
    magic, tag, place, sequence, _ = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise Foreign(f"no block of ours: {data[:16].hex()}")
    if data == pack(volume, block, sequence):
        return int(sequence)
    whose = "" if tag == zlib.crc32(volume.encode()) else ", of another volume"
    raise Foreign(f"block {place} of write {sequence}{whose}, or torn")
