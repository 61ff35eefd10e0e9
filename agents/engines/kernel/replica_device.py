"""A replica on its head: one device over all paths, and its mark, read and written beside it.

While no path works, requests wait in the device: md hears nothing of it until the engine has noted
on the other replicas that this one is left behind.
"""

import contextlib
import errno
import mmap
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.engines.base import EngineError
from agents.engines.kernel import device_mapper
from agents.engines.kernel.device_mapper import Mapped, TablePiece
from agents.engines.kernel.kernel_file import read_once
from agents.ondisk import MARK_BYTES, SECTOR, Mark, pack_mark, unpack_mark

BY_NUMBER = Path("/sys/dev/block")
WORKING, PAUSED = "running", "blocked"
PATH = re.compile(r"(\d+:\d+) ([AF]) \d+")


class Seen(NamedTuple):
    """What was seen of a device: no session of it is there, or one is and cannot be read over.

    It `moves` while a path is not used that might be, or used that might not.
    """

    lost: bool
    fails: bool
    moves: bool = False


class ReplicaDevice:
    """A device of `size` bytes, and the mark after them."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size

    def make(self, paths: Sequence[str]) -> Mapped:
        """Make it over these paths, each the number of a disk."""
        words = f"1 queue_if_no_path 0 1 1 service-time 0 {len(paths)} 2 "
        words += " ".join(f"{path} 1 1" for path in paths)
        sectors = (self.size + MARK_BYTES) // SECTOR
        return device_mapper.create(self.name, [TablePiece(sectors, "multipath", words)])

    def find(self) -> Mapped | None:
        """Find it, if it is there."""
        return device_mapper.find(self.name)

    @property
    def is_lost(self) -> bool:
        """Tell whether every path has failed, and none is just being tried again."""
        return not any(_state(path) in {WORKING, PAUSED} for path in self._paths())

    def look(self) -> Seen:
        """Use paths again that work again, and no more those that do not; tell what came of it."""
        seen = {path: (used, _state(path)) for path, used in self._paths().items()}
        fails = False
        for path, (used, state) in list(seen.items()):
            if not used and state == WORKING:
                if self._can_be_read(path):
                    device_mapper.message(self.name, f"reinstate_path {path}")
                elif (now := _state(path)) == WORKING:
                    fails = True
                else:  # its session went meanwhile, which says nothing of the disk
                    seen[path] = used, now
            elif used and state not in {WORKING, PAUSED}:
                device_mapper.message(self.name, f"fail_path {path}")
        lost = not any(state in {WORKING, PAUSED} for _, state in seen.values())
        moves = any(used == (state != WORKING) for used, state in seen.values())
        return Seen(lost=lost, fails=fails, moves=moves)

    def _can_be_read(self, path: str) -> bool:
        """Try one path: the mark can be read."""
        try:
            with mmap.mmap(-1, MARK_BYTES) as buffer:
                descriptor = os.open(_node(path), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
                try:
                    return os.preadv(descriptor, [buffer], self.size) == MARK_BYTES
                finally:
                    os.close(descriptor)
        except OSError:
            return False

    def let_fail(self) -> None:
        """Answer what waits, and what comes, with an error while no path works."""
        device_mapper.message(self.name, "fail_if_no_path")

    def break_off(self) -> None:
        """Answer all that waits and all that comes with an error, for good."""
        if self.find() is None:
            return
        device_mapper.load(self.name, [TablePiece((self.size + MARK_BYTES) // SECTOR, "error")])
        device_mapper.suspend(self.name, flush=False)
        device_mapper.resume(self.name)

    def remove(self) -> None:
        """Take it away."""
        device_mapper.remove(self.name)

    def read_mark(self) -> Mark:
        """Read what the last head said of it."""
        return unpack_mark(self.read(self.size, MARK_BYTES))

    def write_mark(self, mark: Mark) -> None:
        """Say something of it, durably; what was written before is durable, too."""
        self.write(self.size, pack_mark(mark))

    def flush(self) -> None:
        """Have the server bring all that was written to stable storage."""

        def sync(descriptor: int) -> int:
            os.fsync(descriptor)
            return 0

        self._over_any_path(os.O_RDWR, sync, 0)

    def read(self, offset: int, length: int) -> bytes:
        """Read from the disk itself, over any path that works."""
        with mmap.mmap(-1, length) as buffer:
            self._over_any_path(os.O_RDONLY, lambda fd: os.preadv(fd, [buffer], offset), length)
            return buffer[:]

    def write(self, offset: int, data: bytes) -> None:
        """Write to the disk itself, over any path that works, durably."""
        with mmap.mmap(-1, len(data)) as buffer:
            buffer[:] = data

            def put(descriptor: int) -> int:
                return os.pwritev(descriptor, [buffer], offset)

            self._over_any_path(os.O_WRONLY | os.O_DSYNC, put, len(data))

    def _over_any_path(self, flags: int, act: Callable[[int], int], length: int) -> None:
        failure: OSError | None = None
        for path in self._paths():
            if _state(path) != WORKING:
                continue
            try:
                descriptor = os.open(_node(path), flags | os.O_DIRECT | os.O_CLOEXEC)
                try:
                    if act(descriptor) == length:
                        return
                finally:
                    os.close(descriptor)
            except OSError as error:
                failure = error
        said = failure.strerror if failure else "no path works"
        raise EngineError(errno.EIO, f"{self.name}: {said}")

    def _paths(self) -> dict[str, bool]:
        """Tell the paths, and whether the device uses them."""
        with contextlib.suppress(EngineError):
            return {
                path: letter == "A"
                for words in device_mapper.status(self.name)
                for path, letter in PATH.findall(words)
            }
        return {}


def _state(path: str) -> str:
    with contextlib.suppress(OSError):
        return read_once(BY_NUMBER / path / "device" / "state")
    return ""


def _node(path: str) -> str:
    return f"/dev/{(BY_NUMBER / path).resolve().name}"
