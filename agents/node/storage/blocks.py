"""Bytes on a disk, which is a regular file or a block device: sizes, holes, zeros."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

CHUNK = 1 << 20

BLKGETSIZE64 = 0x80081272
BLKZEROOUT = 0x127F
PUNCH_HOLE_KEEP_SIZE = 3
UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EINVAL}

ZEROS = bytes(CHUNK)
"""Bytes, not a view: only like with like is compared by memcmp."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def size_of(fd: int) -> int:
    """Tell the size in bytes."""
    if not _is_block_device(fd):
        return os.fstat(fd).st_size
    answer = fcntl.ioctl(fd, BLKGETSIZE64, bytes(8))
    return int(struct.unpack("<Q", answer)[0])


def data_segments(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Name each range that is not a hole; a device without holes is one range."""
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
            stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno not in UNSUPPORTED:
                raise
            stop = end
        if start >= end:
            return
        yield start, stop
        start = stop


def read_medium(fd: int, offset: int, size: int) -> bytes:
    """Read from the medium, not from memory, and leave nothing there.

    What is not yet on the medium stays in memory, and is what is read.
    """
    os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)
    data = os.pread(fd, size, offset)
    os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)
    return data


def clear(fd: int, offset: int, length: int) -> None:
    """Make a range read as zeros, by a hole where that is possible. Not yet durable."""
    try:
        if _is_block_device(fd):
            fcntl.ioctl(fd, BLKZEROOUT, struct.pack("<QQ", offset, length))
        else:
            _punch(fd, offset, length)
    except OSError as error:
        # A full file system may have no room to note a hole, yet take zeros over what is there.
        if error.errno not in {*UNSUPPORTED, errno.ENOSPC}:
            raise
        for at in range(offset, offset + length, CHUNK):
            write_all(fd, ZEROS[: min(CHUNK, offset + length - at)], at)


def is_zero(fd: int, offset: int, length: int) -> bool:
    """Read a range and tell whether all of it is zero."""
    for at in range(offset, offset + length, CHUNK):
        wanted = min(CHUNK, offset + length - at)
        found = os.pread(fd, wanted, at)
        if len(found) != wanted or found != ZEROS[:wanted]:
            return False
    return True


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte, however many calls it takes."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def _punch(fd: int, offset: int, length: int) -> None:
    if _LIBC.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _is_block_device(fd: int) -> bool:
    return stat.S_ISBLK(os.fstat(fd).st_mode)
