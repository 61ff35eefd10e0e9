"""md's write-intent bitmap in a file of the head's: what a replica that is out misses is known.

A bit is set before its chunk is written, and cleared a while after the write landed everywhere;
while a replica is out, none is. The while is longer than the time after which the replicas are
flushed: what a server may have lost with its cache, its bits still tell.
"""

import fcntl
import os
import struct
from pathlib import Path

from agents.engines.base import EngineError
from agents.ondisk import MIB

CHUNK = MIB
FLUSH_SECONDS = 3.0
CLEAR_SECONDS = 15
"""After which a bit is cleared at the earliest; several times as long as FLUSH_SECONDS."""
_SUPERBLOCK = struct.Struct("<II16sQQQIIIIII")
_SUPERBLOCK_BYTES = 256
_MAGIC, _VERSION = 0x6D746962, 4
_PAGE = 4096
_SET_BITMAP_FILE = (1 << 30) | (4 << 16) | (9 << 8) | 0x2B


def pack(size: int) -> bytes:
    """Make a bitmap with no bit set, for an array of that size."""
    head = _SUPERBLOCK.pack(
        _MAGIC, _VERSION, bytes(16), 0, 0, size // 512, 0, CHUNK, CLEAR_SECONDS, 0, 0, 0
    )
    chunks = -(-size // CHUNK)
    length = _SUPERBLOCK_BYTES + -(-chunks // 8)
    return head.ljust(-(-length // _PAGE) * _PAGE, b"\0")


def begin(array: str, path: Path, size: int) -> None:
    """Have a running array, which copies nothing, keep a new bitmap there.

    EngineError where the kernel has no such files, or the file system cannot tell where a file is.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, pack(size))
        os.fsync(descriptor)
        _hand_over(array, descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise EngineError(error.errno or 5, f"array {array}: bitmap: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _hand_over(array: str, descriptor: int) -> None:
    device = os.open(f"/dev/{array}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _SET_BITMAP_FILE, descriptor)
    finally:
        os.close(device)
