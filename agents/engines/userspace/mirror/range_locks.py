"""Range locks of one mirror: copiers take a range, writes that touch it wait."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.coroutines import Future


class RangeLock:
    """A range: waiting to be taken (or, for a write, to be free), or taken."""

    __slots__ = ("call", "end", "for_write", "landing", "start")

    def __init__(self, start: int, end: int, call: Callable[..., Any], *, for_write: bool) -> None:
        self.start = start
        self.end = end
        self.call = call
        self.for_write = for_write
        self.landing = 0

    def overlaps(self, start: int, end: int) -> bool:
        """Tell whether the two have a byte in common."""
        return self.start < end and start < self.end


class RangeLocks:
    """First come, first served: no copier overtakes one that waits for an overlapping range."""

    def __init__(self, in_flight: dict[int, tuple[int, int]]) -> None:
        self.busy = False
        self._in_flight = in_flight
        self._taken: list[RangeLock] = []
        self._waiting: list[RangeLock] = []

    def take(self, start: int, end: int) -> Future:
        """Reserve a range; the reply's data is the RangeLock, to be given to `release`."""
        granted = Future()
        wanted = RangeLock(start, end, granted, for_write=False)
        self.busy = True
        if self._is_contended(wanted, self._waiting):
            self._waiting.append(wanted)
        else:
            self._take(wanted)
            if not wanted.landing:
                granted(0, wanted)
        return granted

    def release(self, taken: RangeLock) -> None:
        """Give a range back and let those waiting go on."""
        self._taken.remove(taken)
        waiting, self._waiting = self._waiting, []
        ready: list[Callable[[], Any]] = []
        for wanted in waiting:
            ahead = self._waiting
            if wanted.for_write:
                ahead = [other for other in ahead if not other.for_write]
            if self._is_contended(wanted, ahead):
                self._waiting.append(wanted)
            elif wanted.for_write:
                ready.append(wanted.call)
            else:
                self._take(wanted)
                if not wanted.landing:
                    ready.append(partial(wanted.call, 0, wanted))
        self.busy = bool(self._taken or self._waiting)
        for call in ready:
            call()

    def parks(self, start: int, end: int, go: Callable[[], None]) -> bool:
        """Keep a write back if it must wait; `go` is called later and has to ask again."""
        wanted = RangeLock(start, end, go, for_write=True)
        locks = [other for other in self._waiting if not other.for_write]
        if not self._is_contended(wanted, locks):
            return False
        self._waiting.append(wanted)
        return True

    def landed(self, start: int, end: int) -> None:
        """Note that a write is no longer in flight."""
        for taken in list(self._taken):
            if taken.landing and taken.overlaps(start, end):
                taken.landing -= 1
                if not taken.landing:
                    taken.call(0, taken)

    def _take(self, wanted: RangeLock) -> None:
        wanted.landing = sum(
            wanted.overlaps(offset, offset + length) for offset, length in self._in_flight.values()
        )
        self._taken.append(wanted)

    def _is_contended(self, wanted: RangeLock, ahead: Iterable[RangeLock]) -> bool:
        start, end = wanted.start, wanted.end
        return any(taken.overlaps(start, end) for taken in self._taken) or any(
            other.overlaps(start, end) for other in ahead
        )
