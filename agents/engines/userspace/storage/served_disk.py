"""A disk of which ranges are served: an open file or block device."""

import errno
import os
import stat
from functools import partial

from agents.engines.userspace.loop.reactor import Commits, Reactor


class ServedDisk:
    """An open file or block device, shared by the leases of it."""

    def __init__(self, reactor: Reactor, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.leases = 0
        self.error = 0
        self.lost = False
        status = os.fstat(self.descriptor)
        self.read_flags: int | None = 0 if _is_in_memory(status) else os.RWF_NOWAIT
        """With which a read never blocks; None: there are none, so a thread has to read."""
        self._identity = _identity(status)
        self.commits = Commits(reactor, partial(partial, self._sync))

    def _sync(self) -> None:
        """The kernel tells a failure once, but what any lease wrote may be what was lost."""
        if self.lost:
            raise OSError(self.error, os.strerror(self.error))
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self.lost, self.error = True, error.errno or errno.EIO
            raise

    def check(self) -> None:
        """Notice that the file is gone: what is written to it now would be lost.

        It may come back, unless another one is at its path.
        """
        if self.lost:
            return
        try:
            found = os.stat(self.path)
        except OSError as error:
            self.error = error.errno or errno.EIO
            return
        self.lost = _identity(found) != self._identity
        self.error = errno.ENODEV if self.lost else 0

    def close(self) -> None:
        """Let the file go."""
        os.close(self.descriptor)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Tell devices by their number, files by their place: /dev may be made anew."""
    if stat.S_ISBLK(status.st_mode):
        return 0, 0, status.st_rdev
    return status.st_dev, status.st_ino, 0


def _is_in_memory(status: os.stat_result) -> bool:
    """Tell whether a file has its data in memory (tmpfs), where RWF_NOWAIT is unknown."""
    if stat.S_ISBLK(status.st_mode):
        return False  # its node may be in memory, its data is not
    number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[2] == number and " - tmpfs " in line for line in mounts)
