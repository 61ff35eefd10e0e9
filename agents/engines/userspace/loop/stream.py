"""A non-blocking socket with a pull parser and an output queue, without copying the payload."""

import socket
import struct
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from agents.engines.userspace.loop.reactor import GONE, IN, OUT, Reactor

BUFFER_BYTES = 4 << 20
PIECES = 256
DISCARDS = 32
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Stream:
    """Reads what its subclass asks for with `want` and `into`; writes what it is given.

    A peer that hung up is dropped at once, before what it sent last is even looked at: a request
    that nobody waits for any more must not be carried out late.
    """

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.reactor = reactor
        self.closed = False
        self._socket = sock
        self._rest = b""
        self._need = 0
        self._head_arrived: Callable[[int], None] = self._unexpected
        self._body: memoryview | None = None
        self._filled = 0
        self._body_arrived: Callable[[], None] = self._nothing
        self._out: deque[Any] = deque()
        self._queued = False
        self._mask = IN | GONE
        self._paused = False
        sock.settimeout(0)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)

    def begin(self) -> None:
        """Start to listen to the peer."""
        self.reactor.watch(self._socket.fileno(), self._mask, self._on_event)

    def want(self, size: int, arrived: Callable[[int], None]) -> None:
        """Call with the place in the reactor's scratch once `size` bytes lie there."""
        self._need, self._head_arrived = size, arrived

    def into(self, body: memoryview, arrived: Callable[[], None]) -> None:
        """Fill the buffer next, then call."""
        if not len(body):
            arrived()
            return
        self._body, self._filled, self._body_arrived = body, 0, arrived

    def send(self, *pieces: Any) -> None:
        """Queue for the end of this turn."""
        self._out.extend(pieces)
        if not self._queued and not self.closed:
            self._queued = True
            self.reactor.unsent.append(self)

    def push(self) -> None:
        """Send as much as the socket takes."""
        self._queued = False
        out = self._out
        while out and not self.closed:
            try:
                sent = self._socket.sendmsg(
                    out if len(out) <= PIECES else list(islice(out, PIECES))
                )
            except BlockingIOError:
                self._set_mask(self._mask | OUT)
                return
            except OSError as error:
                self.close(str(error))
                return
            self._sent(sent)
        if self._mask & OUT:
            self._set_mask(self._mask & ~OUT)

    def pause(self) -> None:
        """Read no more until `resume`, and look at nothing more of what was read."""
        if not self._paused:
            self._paused = True
            self._set_mask(self._mask & ~IN)

    def resume(self) -> None:
        """Read on, beginning with what was read already."""
        if self._paused:
            self._paused = False
            self.reactor.soon.append(self._read_on)

    def close(self, reason: str = "", *, reset: bool = False) -> None:
        """End the connection; with `reset`, even what the kernel still has to send is dropped."""
        if self.closed:
            return
        self.closed = True
        self.reactor.forget(self._socket.fileno())
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.reactor.closing.append(self._socket)
        self._out.clear()
        self._body = None
        self.on_close(reason)

    def on_close(self, reason: str) -> None:
        """Tell the subclass."""

    def _sent(self, sent: int) -> None:
        out = self._out
        while sent:
            size = len(out[0])
            if sent < size:
                out[0] = memoryview(out[0])[sent:]
                return
            sent -= size
            out.popleft()

    def _set_mask(self, mask: int) -> None:
        if mask != self._mask and not self.closed:
            self._mask = mask
            self.reactor.watch_for(self._socket.fileno(), mask)

    def _on_event(self, mask: int) -> None:
        if mask & GONE:
            self.close(self._discard())
            return
        if mask & OUT:
            self.push()
        if mask & IN and not self.closed:
            self._pull()

    def _discard(self) -> str:
        """Leave nothing unread, or the kernel answers a goodbye with a reset; tells the reason."""
        try:
            for _ in range(DISCARDS):
                if not self._socket.recv_into(self.reactor.scratch_view):
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            return str(error)
        return "the peer hung up"

    def _read_on(self) -> None:
        if self.closed or self._paused:
            return
        rest, self._rest = self._rest, b""
        self.reactor.scratch_view[: len(rest)] = rest
        self._parse(0, len(rest))
        if not self._paused:
            self._set_mask(self._mask | IN)

    def _pull(self) -> None:
        view, rest, body = self.reactor.scratch_view, self._rest, self._body
        start = len(rest)
        try:
            if body is not None:
                # A body never leaves a rest behind, so the scratch is free from its start.
                room = len(body) - self._filled
                got = self._socket.recvmsg_into((body[self._filled :], view))[0]
                start, end = 0, got - room
            else:
                if start:
                    view[:start] = rest
                got = self._socket.recv_into(view[start:] if start else view)
                start, end = 0, start + got
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        if not got:
            self.close("the peer closed the connection")
            return
        if body is not None:
            if end < 0:
                self._filled += got
                return
            self._body = None
            self._body_arrived()
        self._parse(start, end)

    def _parse(self, start: int, end: int) -> None:
        view = self.reactor.scratch_view
        while not (self.closed or self._paused):
            body = self._body
            if body is not None:
                filled = self._filled
                take = min(end - start, len(body) - filled)
                body[filled : filled + take] = view[start : start + take]
                start += take
                self._filled = filled + take
                if filled + take < len(body):
                    break
                self._body = None
                self._body_arrived()
            elif end - start >= self._need:
                here = start
                start += self._need
                self._head_arrived(here)
            else:
                break
        self._rest = bytes(view[start:end]) if start < end else b""

    def _unexpected(self, _place: int) -> None:
        self.close("data that nobody asked for")

    def _nothing(self) -> None:
        """Stand in until a body is asked for."""
