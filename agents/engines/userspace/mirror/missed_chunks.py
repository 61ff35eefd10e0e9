"""What a replica that is out of use lacks."""

import contextlib
import mmap
import os
import struct

from agents.engines.userspace.mirror.mapped_file import check_magic, map_file, places_of_one

_TRAILER = struct.Struct("<8sII")
_MAGIC = b"VASMIS01"
"""The file's version stands behind the chunks: engines of the first version, which wrote none, map
the file from its beginning and cut off what follows."""


def check_version(path: str) -> None:
    """Raise EngineError if a newer engine wrote the file: its last bytes tell the version."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(-min(_TRAILER.size, file.seek(0, os.SEEK_END)), os.SEEK_END)
        check_magic(path, file.read(len(_MAGIC)), _MAGIC)


class MissedChunks:
    """What one replica lacks: one byte a chunk of its mirror, in a file that is mapped.

    Without room for the file only this process knows it: to the next one the replica lacks all.
    EngineError if a newer engine wrote the file.
    """

    def __init__(self, path: str, chunks: int, shift: int) -> None:
        self.path = path
        self.chunks = chunks
        self.shift = shift
        existed = os.path.exists(path)
        check_version(path)
        try:
            self._bytes = map_file(path, chunks, tail=_TRAILER.pack(_MAGIC, shift, chunks))
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

    def add_range(self, offset: int, length: int) -> None:
        """Miss what is written now."""
        first, last = offset >> self.shift, offset + length - 1 >> self.shift
        self._bytes[first : last + 1] = b"\1" * (last + 1 - first)

    def forget(self, chunk: int) -> None:
        """The chunk was copied."""
        self._bytes[chunk] = 0

    def listed(self) -> list[int]:
        """List what is missed."""
        return places_of_one(self._bytes[:])

    def remove(self) -> None:
        """Delete the file: the replica lacks nothing, or is no more."""
        self._bytes.close()
        self._unlink()

    def _unlink(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)
