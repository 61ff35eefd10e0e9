"""Places that are taken in turn: whoever has waited longest comes next, and waits for so long."""

import threading
import time
from collections import deque
from collections.abc import Callable

LOOK = 1.0


class FairPlaces:
    """So many places. Unlike a semaphore's, those who wait do not overtake each other for ever.

    A place that becomes free is anybody's until the first in the queue has waited for `overtaken`
    seconds; then it is handed over to that one, ten times in so many seconds at most. Handing over
    every time costs a change of threads each, while the place lies idle.
    """

    def __init__(self, places: int, *, overtaken: float = 0.0) -> None:
        self._free = places
        self._overtaken = overtaken
        self._handed_over = 0.0
        self._mutex = threading.Lock()
        self._queue: deque[_Ticket] = deque()

    def take(self, timeout: float, needless: Callable[[], bool] = lambda: False) -> bool:
        """Take a place, in turn; False if none was to be had in so many seconds.

        Or if `needless` says so, which is asked every second.
        """
        with self._mutex:
            if self._free and not self._is_due():
                self._free -= 1
                return True
            ticket = _Ticket()
            self._queue.append(ticket)
        end = time.monotonic() + timeout
        while True:
            called = ticket.called.wait(min(max(end - time.monotonic(), 0.0), LOOK))
            over = time.monotonic() >= end or (not called and needless())
            with self._mutex:
                if ticket.has_place:
                    return True
                ticket.called.clear()
                if self._free and (self._queue[0] is ticket or not self._is_due()):
                    self._free -= 1
                    self._queue.remove(ticket)
                    return True
                if over:
                    self._queue.remove(ticket)
                    self._call_next()
                    return False

    def give_back(self) -> None:
        """Give a place to whoever is next."""
        with self._mutex:
            self._free += 1
            self._call_next()

    def _call_next(self) -> None:
        if not self._free or not self._queue:
            return
        if self._is_due():
            first = self._queue.popleft()
            first.has_place = True
            first.called.set()
            self._free -= 1
            self._handed_over = time.monotonic()
        else:
            self._queue[0].called.set()

    def _is_due(self) -> bool:
        if not self._queue:
            return False
        now = time.monotonic()
        waited_long = self._queue[0].since + self._overtaken <= now
        return waited_long and self._handed_over + self._overtaken / 10 <= now


class _Ticket:
    """One that waits."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.since = time.monotonic()
        self.has_place = False
