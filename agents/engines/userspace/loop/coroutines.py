"""Coroutines on the event loop: awaiting an I/O reply without asyncio's weight."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from agents.errors import AgentError


class Future:
    """A reply to come: called as a completion callback, awaited by one task."""

    __slots__ = ("arrived", "data", "error", "waiter")

    def __init__(self) -> None:
        self.arrived = False
        self.error = 0
        self.data: Any = None
        self.waiter: Callable[[], None] | None = None

    def __call__(self, error: int = 0, data: Any = None) -> None:
        self.arrived, self.error, self.data = True, error, data
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter()

    def __await__(self) -> Generator["Future", None, tuple[int, Any]]:
        if not self.arrived:
            yield self
        return self.error, self.data


class LoopTask:
    """A coroutine under way. Awaiting it gives its value or raises its AgentError."""

    __slots__ = ("_coroutine", "_ended", "_failure", "_value")

    def __init__(self, coroutine: Coroutine[Future, None, Any]) -> None:
        self._coroutine = coroutine
        self._ended = Future()
        self._failure: AgentError | None = None
        self._value: Any = None
        self._step()

    def _step(self) -> None:
        try:
            later = self._coroutine.send(None)
        except StopIteration as stop:
            self._value = stop.value
        except AgentError as error:
            self._failure = error
        else:
            later.waiter = self._step
            return
        self._ended()

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call once it has ended; at once if it has."""
        if self._ended.arrived:
            call()
        else:
            self._ended.waiter = call

    def __await__(self) -> Generator[Future, None, Any]:
        yield from self._ended.__await__()
        if self._failure is not None:
            raise self._failure
        return self._value


def io(
    device: Any, command: int, offset: int, length: int, data: Any = None, flags: int = 0
) -> Future:
    """Start one request of a device and give the reply to come."""
    later = Future()
    device.submit(command, offset, length, data, flags, later)
    return later
