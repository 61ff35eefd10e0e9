"""A bound on how fast background work may read, write or copy."""

import threading
import time

from agents.ondisk import MIB


class RateLimit:
    """Lets so many MiB a second pass; 0 lets all pass."""

    def __init__(self, mib_per_s: int) -> None:
        self._seconds_per_byte = 1 / (mib_per_s * MIB) if mib_per_s else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def charge(self, size: int) -> float:
        """Let `size` more bytes pass, once this many seconds are over."""
        with self._lock:
            now = time.monotonic()
            begin = max(self._next, now)
            self._next = begin + size * self._seconds_per_byte
        return begin - now

    def pay(self, size: int, stop: threading.Event) -> None:
        """Wait until `size` more bytes may pass, or until `stop` is set."""
        wait = self.charge(size)
        if wait:
            stop.wait(wait)
