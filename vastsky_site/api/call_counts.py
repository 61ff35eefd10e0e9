"""How often each method was called in this process, what came of it, and how long that took.

Counted per process, for a scrape of it. Where another web server than ours runs the site in several
processes, chance would choose which of them answers: then nothing of this is told.
"""

import errno
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from modernrpc.exceptions import RPCException

from agents.exposition import Distribution, MetricSample, counter, histogram

CALLS = counter(
    "vastsky_rpc_calls_total",
    "Calls of the API by method and by the fault they ended with.",
    "method",
    "fault",
)
SECONDS = histogram(
    "vastsky_rpc_duration_seconds",
    "How long calls of the API took, with what they waited for nodes.",
    "method",
)
DENIED = counter(
    "vastsky_rpc_denied_total",
    "Callers of the API that were not let in, by HTTP status.",
    "status",
)

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
BUG = 500


class CallCounts:
    """The counts of one process; several threads count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[tuple[str, int]] = Counter()
        self._denied: Counter[int] = Counter()
        self._times: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def note(self, method: str, fault: int, seconds: float) -> None:
        """Count a call that ended."""
        place = bisect_left(BOUNDS, seconds)
        with self._lock:
            self._outcomes[method, fault] += 1
            times = self._times.get(method)
            if times is None:
                times = self._times[method] = [0] * (len(BOUNDS) + 1)
                # From the first call on: what appears with a 1 has not gone up for who scrapes.
                self._outcomes[method, BUG] += 0
            times[place] += 1
            self._sums[method] = self._sums.get(method, 0.0) + seconds

    def deny(self, status: int) -> None:
        """Count a caller that was not let in."""
        with self._lock:
            self._denied[status] += 1

    def tell(self) -> Iterator[MetricSample]:
        """Tell all counts, as of one moment."""
        if settings.VASTSKY_WEB_PROCESSES > 1:
            return
        with self._lock:
            outcomes, denied = dict(self._outcomes), dict(self._denied)
            times = {method: tuple(counts) for method, counts in self._times.items()}
            sums = dict(self._sums)
        for (method, fault), count in sorted(outcomes.items()):
            yield CALLS.of(count, method, _name(fault))
        for method, counts in sorted(times.items()):
            yield SECONDS.of(Distribution(BOUNDS, counts, sums[method]), method)
        for status, count in sorted(denied.items()):
            yield DENIED.of(count, status)


counts = CallCounts()


def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Count the calls of a method whose every outcome is a value or an RPCException."""

    def call(*params: object) -> Any:
        began, fault = time.monotonic(), BUG
        try:
            result = method(*params)
            fault = 0
        except RPCException as error:
            fault = error.code
            raise
        finally:
            counts.note(name, fault, time.monotonic() - began)
        return result

    call.__doc__ = method.__doc__
    return call


def _name(fault: int) -> str:
    """Name a fault as programs do; "none" where there was none."""
    return errno.errorcode.get(fault, str(fault)) if fault else "none"
