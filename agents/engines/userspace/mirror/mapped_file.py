"""Memory that is a file: it outlives the process, not the host."""

import errno
import mmap
import os

from agents.engines.base import EngineError
from agents.errors import newer_file


def map_file(path: str, size: int, *, anew: bool = False, tail: bytes = b"") -> mmap.mmap:
    """Map a file with all its room: storing into a hole of a full disk would end us by SIGBUS.

    `tail` follows in the file what is mapped.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if anew else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.ftruncate(descriptor, size + len(tail))
        os.posix_fallocate(descriptor, 0, size + len(tail))
        os.pwrite(descriptor, tail, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def check_magic(path: str, found: bytes, ours: bytes) -> bool:
    """Tell whether a magic number is ours; EngineError if it is that of a newer version.

    A magic number is a name and two digits of the version.
    """
    if found[:-2] == ours[:-2] and found[-2:].isdigit() and int(found[-2:]) > int(ours[-2:]):
        words = newer_file(path, int(found[-2:]), int(ours[-2:]))
        raise EngineError(errno.EPROTONOSUPPORT, words)
    return found == ours


def places_of_one(part: bytes) -> list[int]:
    """List the places of the bytes that are 1."""
    places = []
    place = part.find(1)
    while place >= 0:
        places.append(place)
        place = part.find(1, place + 1)
    return places
