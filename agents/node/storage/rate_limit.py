"""A bound on how fast background work may read or write."""

import threading
import time

from agents.ondisk import MIB


class RateLimit:
    """Lets so many MiB a second pass; 0 lets all pass."""

    def __init__(self, mib_per_s: int) -> None:
        self._seconds_per_byte = 1 / (mib_per_s * MIB) if mib_per_s else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def pay(self, size: int, stop: threading.Event) -> None:
        """Wait until `size` more bytes may pass, or until `stop` is set."""
        with self._lock:
            now = time.monotonic()
            begin = max(self._next, now)
            self._next = begin + size * self._seconds_per_byte
        if begin > now:
            stop.wait(begin - now)
