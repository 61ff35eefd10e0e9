"""How often somebody may be wrong: failures are counted by key, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Attempts:
    """Counts failures; after `most` of one key within `seconds`, the key waits until they are over.

    Kept in this process: whoever has not signed in must not make the database write. With several
    web processes each counts for itself, so `most` holds for each of them. Beyond `keys` the oldest
    are forgotten.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._seconds, self._keys, self._clock = most, seconds, keys, clock
        self._lock = Lock()
        self._failures: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Tell for how many seconds this key is not listened to; 0 if it is."""
        with self._lock:
            until, count = self._failures.get(key, (0.0, 0))
        return max(0.0, until - self._clock()) if count >= self._most else 0.0

    def fail(self, key: Hashable) -> None:
        """Count a failure. The time runs from the first one."""
        now = self._clock()
        with self._lock:
            until, count = self._failures.get(key, (0.0, 0))
            if until <= now:
                self._failures.pop(key, None)
                until, count = now + self._seconds, 0
            self._failures[key] = (until, count + 1)
            while len(self._failures) > self._keys:
                self._failures.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Start afresh: this key was right."""
        with self._lock:
            self._failures.pop(key, None)

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._failures.clear()
