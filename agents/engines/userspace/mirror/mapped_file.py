"""Memory that is a file: it outlives the process, not the host."""

import mmap
import os


def map_file(path: str, size: int, *, anew: bool = False) -> mmap.mmap:
    """Map a file with all its room: storing into a hole of a full disk would end us by SIGBUS."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if anew else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def places_of_one(part: bytes) -> list[int]:
    """List the places of the bytes that are 1."""
    places = []
    place = part.find(1)
    while place >= 0:
        places.append(place)
        place = part.find(1, place + 1)
    return places
