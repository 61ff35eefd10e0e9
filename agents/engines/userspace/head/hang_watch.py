"""Head processes that do not answer: for a moment they are busy, for a minute they hang."""

import time

HUNG_SECONDS = 60.0
"""A process's loop never takes so long for one turn: it is stopped, or caught in a defect."""


class HangWatch:
    """Remembers since when each group's process has not answered."""

    def __init__(self, seconds: float = HUNG_SECONDS) -> None:
        self._seconds = seconds
        self._silent: dict[int, float] = {}

    def answered(self, lvolid: int) -> None:
        """A process answered, or there is none."""
        self._silent.pop(lvolid, None)

    def is_hung(self, lvolid: int) -> bool:
        """Note that a process did not answer; True once it has not for too long."""
        now = time.monotonic()
        return now - self._silent.setdefault(lvolid, now) > self._seconds
