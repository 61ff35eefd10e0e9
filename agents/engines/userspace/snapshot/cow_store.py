"""The layout of a snapshot's copy-on-write store."""

import struct
import zlib
from typing import NamedTuple

COW_CHUNK = 16 << 10
METADATA_BYTES = 16
"""Reserved in a store for each chunk of the origin."""
BITMAP_BLOCK = 4096

KERNELS_STORE = b"SnAp"
"""Begins a store that was laid by the device mapper."""

_STORE = struct.Struct("<8sIIQQQII")
STORE_MAGIC = b"VASCOW01"


class StoreLayout(NamedTuple):
    """Where things lie in a snapshot's store: header, bitmap, then each chunk at its own place."""

    chunks: int
    bitmap_at: int
    data_at: int
    broken: bool = False

    @property
    def bitmap_bytes(self) -> int:
        """Size of the bitmap in whole blocks."""
        return -(-self.chunks // (8 * BITMAP_BLOCK)) * BITMAP_BLOCK


def store_layout(origin_bytes: int) -> StoreLayout:
    """Lay out the store of an origin of this size."""
    chunks = origin_bytes // COW_CHUNK
    metadata = -(-chunks * METADATA_BYTES // COW_CHUNK) * COW_CHUNK
    return StoreLayout(chunks, COW_CHUNK, COW_CHUNK + metadata)


def pack_store(layout: StoreLayout) -> bytes:
    """Make the header chunk of a store."""
    body = _STORE.pack(
        STORE_MAGIC,
        1,
        COW_CHUNK,
        layout.chunks,
        layout.bitmap_at,
        layout.data_at,
        int(layout.broken),
        0,
    )[:-4]
    return (body + struct.pack("<I", zlib.crc32(body))).ljust(COW_CHUNK, b"\0")


def unpack_store(block: bytes | bytearray) -> StoreLayout | None:
    """Read a store's header; None when it is none."""
    magic, version, chunk, chunks, bitmap_at, data_at, broken, crc = _STORE.unpack_from(block)
    if magic != STORE_MAGIC or crc != zlib.crc32(bytes(block[: _STORE.size - 4])):
        return None
    if version != 1 or chunk != COW_CHUNK:
        return None
    return StoreLayout(chunks, bitmap_at, data_at, bool(broken))
