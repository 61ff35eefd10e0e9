"""How replicas are compared without moving them: digests of chunks, and of the blocks in them."""

import hashlib
from collections.abc import Sequence

CHUNK = 1 << 20
BLOCK = 4096
BLOCKS = CHUNK // BLOCK
"""Blocks in a chunk: the finest that is told apart."""

ZERO = ""
UNREADABLE = "unreadable"
"""In place of a digest: all is zero, and the disk answered with an error."""

_ZEROS = bytes(CHUNK)
_BYTES = 16


def digest(data: bytes | bytearray) -> str:
    """Digest a chunk or a block; what was written as zeros and what is a hole are the same."""
    if data == (_ZEROS if len(data) == CHUNK else _ZEROS[: len(data)]):
        return ZERO
    return hashlib.blake2b(data, digest_size=_BYTES).hexdigest()


def block_digests(data: bytes | bytearray) -> list[str]:
    """Digest each block of a range."""
    return [digest(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]


def fold(digests: Sequence[str]) -> str:
    """Make one digest of those of adjacent blocks; of a single one it is its own."""
    if UNREADABLE in digests:
        return UNREADABLE
    if not any(digests):
        return ZERO
    if len(digests) == 1:
        return digests[0]
    return hashlib.blake2b(",".join(digests).encode(), digest_size=_BYTES).hexdigest()
