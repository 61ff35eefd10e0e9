"""Answers that many ask for and that cost much: computed once in a while, for all who ask."""

from collections.abc import Callable
from threading import Lock
from time import monotonic, thread_time
from typing import Generic, TypeVar

T = TypeVar("T")
LEAST, MOST = 2.0, 20.0
"""Seconds for which an answer is kept."""
SHARE = 100
"""An answer is kept for so many times the CPU that it took: a hundredth of a core, if MOST allows.

By the wall clock, it would grow old on a machine that is busy with something else.
"""


class Shared(Generic[T]):
    """An answer that does not depend on who asks; one computes it while the others wait for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()
        self._last: tuple[T, float, float] | None = None

    def get(self) -> T:
        """Give the answer, computed anew where the last one is too old."""
        with self._lock:
            if self._last and monotonic() - self._last[1] < _kept(self._last[2]):
                return self._last[0]
            begun = thread_time()
            answer = self._make()
            self._last = answer, monotonic(), thread_time() - begun
            return answer

    def last(self, within: float = 2 * MOST) -> T | None:
        """Give the last answer, if it is not older than so many seconds; computes nothing."""
        last = self._last
        return last[0] if last and monotonic() - last[1] < within else None

    def forget(self) -> None:
        """Have it computed anew for who asks next: somebody changed what it tells."""
        self._last = None


def _kept(took: float) -> float:
    return min(MOST, max(LEAST, SHARE * took))
