"""What a replica that is out of use lacks."""

import mmap
import os

from agents.engines.userspace.mirror.mapped_file import map_file, places_of_one


class MissedChunks:
    """What one replica lacks: one byte a chunk of its mirror, in a file that is mapped.

    Without room for the file only this process knows it: to the next one the replica lacks all.
    """

    def __init__(self, path: str, chunks: int, shift: int) -> None:
        self.path = path
        self.chunks = chunks
        self.shift = shift
        existed = os.path.exists(path)
        try:
            self._bytes = map_file(path, chunks)
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
