"""A disk of which ranges are served: an open file or block device."""

import errno
import os
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
        identity = os.fstat(self.descriptor)
        self.read_flags: int | None = 0 if _is_in_memory(identity.st_dev) else os.RWF_NOWAIT
        """With which a read never blocks; None: there are none, so a thread has to read."""
        self._identity = (identity.st_dev, identity.st_ino)
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
        """Notice that the file is gone: what is written to it now would be lost."""
        if self.lost:
            return
        try:
            found = os.stat(self.path)
        except OSError as error:
            self.error = error.errno or errno.EIO
            return
        self.error = 0 if (found.st_dev, found.st_ino) == self._identity else errno.ENODEV

    def close(self) -> None:
        """Let the file go."""
        os.close(self.descriptor)


def _is_in_memory(device: int) -> bool:
    """Tell whether a file system has its data in memory (tmpfs), where RWF_NOWAIT is unknown."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[2] == number and " - tmpfs " in line for line in mounts)
