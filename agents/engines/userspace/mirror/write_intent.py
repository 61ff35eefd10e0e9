"""Maps of chunks that survive the process: what may be unequal, and what a replica missed."""

import mmap
import os
import struct
from typing import Any

HEADER_BYTES = 4096
SMALLEST_SHIFT = 20
MOST_CHUNKS = 16 << 20

_HEADER = struct.Struct("<8sIIQ40s")
_MAGIC = b"VASWIM01"

DOUBT = 0x80
"""The replicas may differ here since before this assembly."""
YOUNG, OLD = 2, 1
"""Written since the last flush of all replicas began, and before it."""

_TO_OLD = bytes((value & DOUBT) | (OLD if value & 3 else 0) for value in range(256))
_TO_CLEAN = bytes((value & DOUBT) | (YOUNG if value & 3 == YOUNG else 0) for value in range(256))
_TO_DOUBT = bytes(DOUBT if value else 0 for value in range(256))
_TO_DOUBTFUL = bytes(1 if value & DOUBT else 0 for value in range(256))
_TO_MISSED = bytes(1 if value else 0 for value in range(256))


def chunk_shift(size: int) -> int:
    """Choose chunks of 1 MiB, or larger ones where the map would get large."""
    shift = SMALLEST_SHIFT
    while size >> shift > MOST_CHUNKS:
        shift += 1
    return shift


class WriteIntentBitmap:
    """One byte a chunk of a volume, in a file: the state of the process's writes.

    It is memory shared with the kernel, never synced: it outlives the process, not the host.
    Whoever reads it later must have the same boot id. OSError if there is no room for it.
    """

    def __init__(self, path: str, size: int, epoch: int, boot_id: str) -> None:
        self.shift = chunk_shift(size)
        self.path = path
        chunks = -(-size >> self.shift)
        self.survived = _read_header(path) == (self.shift, size, boot_id)
        self.old_epoch = _read_epoch(path) if self.survived else 0
        self.bytes: Any = _map_file(path, HEADER_BYTES + chunks, anew=not self.survived)
        self._header = _HEADER.pack(_MAGIC, self.shift, epoch, size, boot_id.encode())

    def adopt(self) -> None:
        """Make it this epoch's map: from here on its content is true of this assembly."""
        self.bytes[: _HEADER.size] = self._header

    def part(self, offset: int, size: int) -> "DirtyRegions":
        """Give the part that belongs to one mirror."""
        return DirtyRegions(self, HEADER_BYTES + (offset >> self.shift), size)


class DirtyRegions:
    """The intent map of one mirror."""

    __slots__ = ("_bytes", "_end", "_shift", "_start", "chunks", "touched")

    def __init__(self, whole: WriteIntentBitmap, start: int, size: int) -> None:
        self._bytes = whole.bytes
        self._shift = whole.shift
        self._start = start
        self.chunks = -(-size >> whole.shift)
        self._end = start + self.chunks
        self.touched = False

    @property
    def shift(self) -> int:
        """Binary logarithm of the chunk's size."""
        return self._shift

    def touch(self, offset: int, length: int) -> None:
        """Note that the replicas may differ here until the next flush of all."""
        chunks, place = self._bytes, self._start + (offset >> self._shift)
        last = self._start + (offset + length - 1 >> self._shift)
        self.touched = True
        while place <= last:
            value = chunks[place]
            if value & 3 != YOUNG:
                chunks[place] = value & DOUBT | YOUNG
            place += 1

    def begin_cleaning(self, flying: list[tuple[int, int]]) -> None:
        """A flush begins: what has landed until now will be equal, what is in flight is not."""
        self._translate(_TO_OLD)
        for offset, length in flying:
            self.touch(offset, length)

    def end_cleaning(self) -> None:
        """The flush that began last reached every replica."""
        self._translate(_TO_CLEAN)
        self.touched = any(self._bytes[self._start : self._end])

    def clear(self) -> None:
        """All replicas are equal."""
        self._bytes[self._start : self._end] = bytes(self.chunks)
        self.touched = False

    def doubt_dirty(self) -> int:
        """After an unclean end: doubt what was not flushed; gives the number of chunks in doubt."""
        self._translate(_TO_DOUBT)
        return self.chunks - bytes(self._bytes[self._start : self._end]).count(0)

    def doubt_all(self) -> int:
        """Nothing is known: doubt everything."""
        self._bytes[self._start : self._end] = bytes((DOUBT,)) * self.chunks
        return self.chunks

    def is_doubtful(self, offset: int, length: int) -> bool:
        """Tell whether any chunk of a range is in doubt."""
        first, last = offset >> self._shift, offset + length - 1 >> self._shift
        return any(
            value & DOUBT for value in self._bytes[self._start + first : self._start + last + 1]
        )

    def doubtful(self) -> list[int]:
        """List the chunks in doubt."""
        part = bytes(self._bytes[self._start : self._end]).translate(_TO_DOUBTFUL)
        return _places_of_one(part)

    def trust(self, chunk: int, *, written: bool) -> None:
        """The chunk is equal on all replicas; what was written for that is not yet flushed."""
        place = self._start + chunk
        self._bytes[place] = YOUNG if written else self._bytes[place] & ~DOUBT
        self.touched = self.touched or written

    def unsafe(self) -> bytes:
        """Give one byte a chunk: 1 where a replica that leaves now may lack something."""
        return bytes(self._bytes[self._start : self._end]).translate(_TO_MISSED)

    def _translate(self, table: bytes) -> None:
        part = slice(self._start, self._end)
        self._bytes[part] = bytes(self._bytes[part]).translate(table)


class MissedChunks:
    """What one replica lacks: one byte a chunk of its mirror, in a file like the intent map's.

    Without room for the file only this process knows it: to the next one the replica lacks all.
    """

    def __init__(self, path: str, chunks: int, shift: int) -> None:
        self.path = path
        self.chunks = chunks
        self.shift = shift
        existed = os.path.exists(path)
        try:
            self._bytes = _map_file(path, chunks)
        except OSError:
            self._bytes = mmap.mmap(-1, chunks)
            if existed:
                self.add_all()
            self._unlink()

    def add(self, unsafe: bytes) -> None:
        """Miss these too."""
        merged = int.from_bytes(self._bytes[:], "little") | int.from_bytes(unsafe, "little")
        self._bytes[:] = merged.to_bytes(self.chunks, "little")

    def add_all(self) -> None:
        """Miss everything."""
        self._bytes[:] = b"\1" * self.chunks

    def touch(self, offset: int, length: int) -> None:
        """Miss what is written now."""
        first, last = offset >> self.shift, offset + length - 1 >> self.shift
        self._bytes[first : last + 1] = b"\1" * (last + 1 - first)

    def forget(self, chunk: int) -> None:
        """The chunk was copied."""
        self._bytes[chunk] = 0

    def listed(self) -> list[int]:
        """List what is missed."""
        return _places_of_one(self._bytes[:])

    def remove(self) -> None:
        """Delete the file: the replica lacks nothing, or is no more."""
        self._bytes.close()
        self._unlink()

    def _unlink(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)


def _map_file(path: str, size: int, *, anew: bool = False) -> mmap.mmap:
    """Map a file with all its room: storing into a hole of a full disk would end us by SIGBUS."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if anew else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _places_of_one(part: bytes) -> list[int]:
    places = []
    place = part.find(1)
    while place >= 0:
        places.append(place)
        place = part.find(1, place + 1)
    return places


def _unpack_header(path: str) -> tuple[bytes, int, int, int, str] | None:
    try:
        with open(path, "rb") as file:
            magic, shift, epoch, size, boot_id = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None
    return magic, shift, epoch, size, boot_id.rstrip(b"\0").decode(errors="replace")


def _read_header(path: str) -> tuple[int, int, str] | None:
    header = _unpack_header(path)
    if header is None or header[0] != _MAGIC:
        return None
    return header[1], header[3], header[4]


def _read_epoch(path: str) -> int:
    header = _unpack_header(path)
    return header[2] if header is not None else 0
