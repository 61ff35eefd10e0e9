"""The one writer of an SQLite file: a turn among threads, then a lock among processes.

SQLite itself makes a second writer sleep and poll, and whoever happens to look first has the file:
with a hundred calls at once some never came to it within their time. Among the threads of a process
a queue decides. Among processes two bytes of a file beside the database are locked: the door, then
the room. Whoever waits for the room holds the door, so that the process that has just written comes
after it. A process that dies lets go of both.
"""

import fcntl
import os
import time
from functools import cache
from pathlib import Path

from django.db.utils import OperationalError

from inventory.fair_places import FairPlaces

OVERTAKEN = 0.5
"""Seconds after which a thread that waits is not overtaken any more."""
LOOK = 0.0005
LONGEST_LOOK = 0.001
DOOR, ROOM = 0, 1
SUFFIX = "-writers"


class Writers:
    """Who writes one file now; one thread of one process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._places = FairPlaces(1, overtaken=OVERTAKEN)
        self._file = -1

    def enter(self, timeout: float) -> None:
        """Become the writer; OperationalError if it takes longer."""
        end = time.monotonic() + timeout
        if not self._places.take(timeout):
            raise OperationalError("database is locked by another thread")
        try:
            self._lock_out_others(end)
        except BaseException:
            self._places.give_back()
            raise

    def leave(self) -> None:
        """Let the next one write."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, ROOM)
        finally:
            self._places.give_back()

    def _lock_out_others(self, end: float) -> None:
        if self._file < 0:
            self._file = self._open()
        self._lock(DOOR, end)
        try:
            self._lock(ROOM, end)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, DOOR)

    def _open(self) -> int:
        try:
            return os.open(self._path + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OperationalError(f"unable to open {self._path}{SUFFIX}: {error}") from None

    def _lock(self, byte: int, end: float) -> None:
        pause = LOOK
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= end:
                    raise OperationalError("database is locked by another process") from None
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)


@cache
def of_file(path: str) -> Writers:
    """Find who writes this file; one object for each file in a process."""
    return Writers(path)


def forget(path: str) -> None:
    """Remove what belongs to a database that is gone."""
    Path(path + SUFFIX).unlink(missing_ok=True)
