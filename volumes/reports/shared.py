"""Answers that many ask for and that cost much: computed once in a while, for all who ask."""

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")
LEAST, MOST = 2.0, 20.0
"""Seconds for which an answer is kept."""
SHARE = 100
"""An answer is kept for so many times as long as it took: it takes a hundredth of one core."""


class Shared(Generic[T]):
    """An answer that does not depend on who asks; one computes it while the others wait for it.

    One that is `rare` is kept for so many times the most, however little it took.
    """

    def __init__(self, make: Callable[[], T], *, rare: int = 0) -> None:
        self._make = make
        self._rare = rare
        self._lock = Lock()
        self._last: tuple[T, float, float] | None = None

    def get(self) -> T:
        """Give the answer, computed anew where the last one is too old."""
        with self._lock:
            if self._last and monotonic() - self._last[1] < self._kept(self._last[2]):
                return self._last[0]
            begun = monotonic()
            answer = self._make()
            now = monotonic()
            self._last = answer, now, now - begun
            return answer

    def _kept(self, took: float) -> float:
        return self._rare * MOST if self._rare else min(MOST, max(LEAST, SHARE * took))

    def last(self, within: float = 2 * MOST) -> T | None:
        """Give the last answer, if it is not older than so many seconds; computes nothing."""
        last = self._last
        return last[0] if last and monotonic() - last[1] < within else None

    def forget(self) -> None:
        """Have it computed anew for who asks next: somebody changed what it tells."""
        self._last = None
