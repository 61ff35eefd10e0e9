"""The call that this thread answers: until when it may wait, and how it rests meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody waits for an answer until `until` on the monotonic clock, and then hangs up."""

    until: float
    rest: Callable[[], AbstractContextManager[None]] = nullcontext


_answered: ContextVar[Call | None] = ContextVar("answered", default=None)


@contextmanager
def answering(call: Call) -> Iterator[None]:
    """Let what is done in here end in time for this call."""
    before = _answered.set(call)
    try:
        yield
    finally:
        _answered.reset(before)


def until(seconds: float) -> float:
    """Tell until when something may be waited for that may take so long: the call's end at most."""
    end = time.monotonic() + seconds
    call = _answered.get()
    return end if call is None else min(end, call.until)


def left(seconds: float) -> float:
    """Tell how long something may be waited for that may take so long."""
    return max(until(seconds) - time.monotonic(), 0.0)


@contextmanager
def resting() -> Iterator[None]:
    """Give the call's place at work to others while it only waits."""
    call = _answered.get()
    with nullcontext() if call is None else call.rest():
        yield
