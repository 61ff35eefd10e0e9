"""The event loop of an engine process: sockets, timers, and a few threads for calls that block."""

import errno
import heapq
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from agents.engines.userspace.loop.stream import Stream

IN, OUT = select.EPOLLIN, select.EPOLLOUT
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
SCRATCH_BYTES = 256 << 10
THREADS = 8

Work = Callable[[], Any]
Done = Callable[[int, Any], None]


class Reactor:
    """One thread that waits for all sockets and calls whoever is concerned."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._work: SimpleQueue[tuple[Work, Done]] = SimpleQueue()
        self._results: deque[tuple[Done, int, Any]] = deque()
        self._threads = 0
        self._outstanding = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running = True
        self.now = time.monotonic()
        self.soon: deque[Callable[[], None]] = deque()
        self.unsent: list[Stream] = []
        self.closing: list[socket.socket] = []
        # One receive buffer serves every connection: what is left over between two events is small.
        self.scratch = bytearray(SCRATCH_BYTES)
        self.scratch_view = memoryview(self.scratch)
        self.watch(self._wake, IN, self._collect)

    def watch(self, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call the handler with the event mask whenever something happens."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, mask)

    def watch_for(self, descriptor: int, mask: int) -> None:
        """Change what a watched descriptor waits for."""
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Watch it no more."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, later."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), call))

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call again and again."""

        def tick() -> None:
            call()
            self.after(seconds, tick)

        self.after(seconds, tick)

    def in_thread(self, work: Work, done: Done) -> None:
        """Do what may block on a thread, then tell its result or the errno of its OSError."""
        self._outstanding += 1
        if self._threads < min(self._outstanding, THREADS):
            self._threads += 1
            threading.Thread(target=self._serve_work, daemon=True).start()
        self._work.put((work, done))

    def stop(self) -> None:
        """Leave `run` after this turn."""
        self._running = False

    def run(self) -> None:
        """Serve until stopped."""
        while self._running:
            events = self._epoll.poll(self._seconds_to_next_timer())
            self.now = time.monotonic()
            handlers = self._handlers
            for descriptor, mask in events:
                handler = handlers.get(descriptor)
                if handler is not None:
                    handler(mask)
            self._run_timers()
            self._finish_turn()

    def _seconds_to_next_timer(self) -> float | None:
        if self.soon:
            return 0
        if self._timers:
            return max(0.0, self._timers[0][0] - time.monotonic())
        return None

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _finish_turn(self) -> None:
        """Send what this turn's events left to send: few large sends instead of many small."""
        while self.soon or self.unsent:
            for _ in range(len(self.soon)):
                self.soon.popleft()()
            unsent, self.unsent = self.unsent, []
            for stream in unsent:
                stream.push()
        # Only now: an accept could reuse a number that this turn still has events for.
        for closing in self.closing:
            closing.close()
        self.closing.clear()

    def _serve_work(self) -> None:
        while True:
            work, done = self._work.get()
            try:
                result = (done, 0, work())
            except OSError as error:
                result = (done, error.errno or errno.EIO, None)
            self._results.append(result)
            os.eventfd_write(self._wake, 1)

    def _collect(self, _mask: int) -> None:
        os.eventfd_read(self._wake)
        while self._results:
            done, error, value = self._results.popleft()
            self._outstanding -= 1
            done(error, value)


class Commits:
    """Runs one costly commit (fdatasync, state file) for all that asked for it meanwhile."""

    def __init__(self, reactor: Reactor, prepare: Callable[[], Work]) -> None:
        self._reactor = reactor
        self._prepare = prepare
        self._waiting: list[Done] = []
        self._busy = False

    def ask(self, done: Done) -> None:
        """Call `done` after a commit that began after this moment."""
        self._waiting.append(done)
        if not self._busy:
            self._start()

    def _start(self) -> None:
        served, self._waiting = self._waiting, []
        self._busy = True

        def ended(error: int, _value: Any) -> None:
            self._busy = False
            if self._waiting:
                self._start()
            for done in served:
                done(error, None)

        self._reactor.in_thread(self._prepare(), ended)
