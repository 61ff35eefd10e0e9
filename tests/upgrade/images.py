"""Look at the image of a disk itself, past all that serves it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from agents import ondisk

MIB = 1 << 20


def describes(image: Path, offset_gb: int) -> int:
    """Tell which extent is described as beginning there on a disk; 0 where none is."""
    with image.open("rb") as disk:
        disk.seek(ondisk.descriptor_offset(image.stat().st_size // ondisk.GB, offset_gb))
        found = ondisk.unpack_descriptor(disk.read(ondisk.DESCRIPTOR_BYTES))
    return found.dextid if found else 0


def content(image: Path, start: int, length: int) -> frozenset[tuple[int, bytes]]:
    """Tell of a range of a disk where in it MiB are that are not zero, and what is in them."""
    descriptor = os.open(image, os.O_RDONLY)
    try:
        found = {}
        for mib in _written(descriptor, start, length):
            data = os.pread(descriptor, MIB, start + mib * MIB)
            if any(data):
                found[mib] = hashlib.sha256(data).digest()
        return frozenset(found.items())
    finally:
        os.close(descriptor)


def _written(descriptor: int, start: int, length: int) -> Iterator[int]:
    """Number the MiB of a range that are not wholly a hole."""
    place = start
    while (data := _seek(descriptor, place, os.SEEK_DATA)) < start + length:
        place = (data - start) // MIB * MIB + start
        yield (place - start) // MIB
        place += MIB


def _seek(descriptor: int, place: int, what: int) -> int:
    try:
        return os.lseek(descriptor, place, what)
    except OSError:  # a hole up to the end
        return os.fstat(descriptor).st_size
