"""How often somebody may be wrong: failures are counted by key, in bounded memory, by all managers.

Each process counts for itself, and where Redis answers all managers of a cluster count together.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from vastsky_site.access.shared_counts import SharedCounts


class Attempts:
    """Counts failures; after `most` of one key within `seconds`, the key waits until they are over.

    Never in the database: whoever has not signed in must not make it write. Beyond `keys` the
    oldest are forgotten. What other managers counted is learnt with each failure, so a key may be
    wrong once more at each of them; with `look` it is asked for before anything is tried.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        *,
        shared: SharedCounts | None = None,
        look: bool = False,
    ) -> None:
        self._most, self._seconds, self._keys, self._clock = most, seconds, keys, clock
        self._shared, self._look = shared, look
        self._lock = Lock()
        self._failures: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Tell for how many seconds this key is not listened to; 0 if it is."""
        if self._shared and self._look:
            self._learn(key, self._shared.read(key))
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
            self._keep(key, until, count + 1)
        if self._shared:
            self._learn(key, self._shared.add(key, math.ceil(self._seconds)))

    def forget(self, key: Hashable) -> None:
        """Start afresh: this key was right."""
        with self._lock:
            known = self._failures.pop(key, None)
        if known and self._shared:
            self._shared.drop(key)

    def clear(self) -> None:
        """Forget everybody, in this process."""
        with self._lock:
            self._failures.clear()

    def _learn(self, key: Hashable, told: tuple[int, float] | None) -> None:
        """Take over what all managers counted together, and for how long it counts yet."""
        if not told or not told[0]:
            return
        with self._lock:
            until, count = self._failures.get(key, (0.0, 0))
            self._keep(key, max(until, self._clock() + told[1]), max(count, told[0]))

    def _keep(self, key: Hashable, until: float, count: int) -> None:
        self._failures[key] = (until, count)
        while len(self._failures) > self._keys:
            self._failures.popitem(last=False)
