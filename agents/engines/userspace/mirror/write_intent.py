"""The write-intent bitmap: where the replicas of a volume may differ. It outlives the process."""

import struct
from typing import Any, NamedTuple

from agents.engines.userspace.mirror.mapped_file import check_magic, map_file, places_of_one

HEADER_BYTES = 4096
SMALLEST_SHIFT = 20
MOST_CHUNKS = 16 << 20

_HEADER = struct.Struct("<8sIIQ40s")
_MAGIC = b"VASWIM01"
"""With the version of the file, as it was from the beginning."""

UNSYNCED = 0x80
"""The replicas may differ here since before this assembly: the chunk is to be resynced."""
YOUNG, OLD = 2, 1
"""Dirty: written since the last flush of all replicas began, and before it."""

_AT_FLUSH_BEGIN = bytes((value & UNSYNCED) | (OLD if value & 3 else 0) for value in range(256))
_AT_FLUSH_END = bytes(
    (value & UNSYNCED) | (YOUNG if value & 3 == YOUNG else 0) for value in range(256)
)
_ALL_TO_UNSYNCED = bytes(UNSYNCED if value else 0 for value in range(256))
_TO_UNSYNCED_ONLY = bytes(1 if value & UNSYNCED else 0 for value in range(256))
_TO_MISSING = bytes(1 if value else 0 for value in range(256))


def chunk_shift(size: int) -> int:
    """Choose chunks of 1 MiB, or larger ones where the map would get large."""
    shift = SMALLEST_SHIFT
    while size >> shift > MOST_CHUNKS:
        shift += 1
    return shift


class WriteIntentBitmap:
    """One byte a chunk of a volume, in a file: the state of the process's writes.

    It is memory shared with the kernel, never synced: it outlives the process, not the host.
    Whoever reads it later must have the same boot id. OSError if there is no room for it,
    EngineError if a newer engine wrote it.
    """

    def __init__(self, path: str, size: int, epoch: int, boot_id: str) -> None:
        self.shift = chunk_shift(size)
        self.path = path
        chunks = -(-size >> self.shift)
        old = _read_header(path)
        self.old_epoch = old.epoch if old is not None else 0
        self.survived = old == _Header(self.shift, self.old_epoch, size, boot_id)
        self.bytes: Any = map_file(path, HEADER_BYTES + chunks, anew=not self.survived)
        self._header = _HEADER.pack(_MAGIC, self.shift, epoch, size, boot_id.encode())

    def adopt(self) -> None:
        """Make it this epoch's map: from here on its content is true of this assembly."""
        self.bytes[: _HEADER.size] = self._header

    def part(self, offset: int, size: int) -> "DirtyRegions":
        """Give the part that belongs to one mirror."""
        return DirtyRegions(self, HEADER_BYTES + (offset >> self.shift), size)


class DirtyRegions:
    """The part of a write-intent bitmap that belongs to one mirror."""

    __slots__ = ("_bytes", "_end", "_shift", "_start", "chunks", "is_dirty")

    def __init__(self, whole: WriteIntentBitmap, start: int, size: int) -> None:
        self._bytes = whole.bytes
        self._shift = whole.shift
        self._start = start
        self.chunks = -(-size >> whole.shift)
        self._end = start + self.chunks
        self.is_dirty = False

    @property
    def shift(self) -> int:
        """Binary logarithm of the chunk's size."""
        return self._shift

    def set_dirty(self, offset: int, length: int) -> None:
        """Note that the replicas may differ here until the next flush of all."""
        chunks, place = self._bytes, self._start + (offset >> self._shift)
        last = self._start + (offset + length - 1 >> self._shift)
        self.is_dirty = True
        while place <= last:
            value = chunks[place]
            if value & 3 != YOUNG:
                chunks[place] = value & UNSYNCED | YOUNG
            place += 1

    def begin_cleaning(self, in_flight: list[tuple[int, int]]) -> None:
        """A flush begins: what has landed until now will be equal, what is in flight is not."""
        self._translate(_AT_FLUSH_BEGIN)
        for offset, length in in_flight:
            self.set_dirty(offset, length)

    def end_cleaning(self) -> None:
        """The flush that began last reached every replica."""
        self._translate(_AT_FLUSH_END)
        self.is_dirty = any(self._bytes[self._start : self._end])

    def clear(self) -> None:
        """All replicas are equal."""
        self._bytes[self._start : self._end] = bytes(self.chunks)
        self.is_dirty = False

    def resync_dirty(self) -> int:
        """After an unclean end: what was dirty is to be resynced; gives the number of chunks."""
        self._translate(_ALL_TO_UNSYNCED)
        return self.chunks - bytes(self._bytes[self._start : self._end]).count(0)

    def resync_all(self) -> int:
        """Nothing is known: everything is to be resynced; gives the number of chunks."""
        self._bytes[self._start : self._end] = bytes((UNSYNCED,)) * self.chunks
        return self.chunks

    def needs_resync(self, offset: int, length: int) -> bool:
        """Tell whether any chunk of a range is to be resynced."""
        first, last = offset >> self._shift, offset + length - 1 >> self._shift
        return any(
            value & UNSYNCED for value in self._bytes[self._start + first : self._start + last + 1]
        )

    def to_resync(self) -> list[int]:
        """List the chunks to be resynced."""
        part = bytes(self._bytes[self._start : self._end]).translate(_TO_UNSYNCED_ONLY)
        return places_of_one(part)

    def set_resynced(self, chunk: int, *, written: bool) -> None:
        """The chunk is equal on all replicas; what was written for that is not yet flushed."""
        place = self._start + chunk
        self._bytes[place] = YOUNG if written else self._bytes[place] & ~UNSYNCED
        self.is_dirty = self.is_dirty or written

    def as_missing(self) -> bytes:
        """Give one byte a chunk: 1 where a replica that goes out of use now may lack something."""
        return bytes(self._bytes[self._start : self._end]).translate(_TO_MISSING)

    def _translate(self, table: bytes) -> None:
        part = slice(self._start, self._end)
        self._bytes[part] = bytes(self._bytes[part]).translate(table)


class _Header(NamedTuple):
    shift: int
    epoch: int
    size: int
    boot_id: str


def _read_header(path: str) -> _Header | None:
    """Read a file's header; EngineError where a newer engine wrote it."""
    try:
        with open(path, "rb") as file:
            block = file.read(_HEADER.size)
    except OSError:
        return None
    if not check_magic(path, block[: len(_MAGIC)], _MAGIC) or len(block) < _HEADER.size:
        return None
    _, shift, epoch, size, boot_id = _HEADER.unpack(block)
    return _Header(shift, epoch, size, boot_id.rstrip(b"\0").decode(errors="replace"))
