"""Orders to an engine process: one JSON line over its unix socket, one JSON line back."""

import errno
import json
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.loop.reactor import IN, Reactor
from agents.engines.userspace.process import dialogue

T = TypeVar("T")
Perform = Callable[[dialogue.Order], Coroutine[Future, None, Any]]

LONGEST_LINE = 64 << 20


class NoProcess(EngineError):
    """Nobody listens on the control socket."""

    def __init__(self, who: str) -> None:
        super().__init__(errno.ECONNREFUSED, f"{who} does not run")


def ask(path: str, order: dialogue.Order, kind: type[T], who: str, timeout: float) -> T:
    """Give an order to the process `who` and wait for the answer; EngineError if it has none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            connection.sendall(json.dumps(dialogue.pack_order(order)).encode() + b"\n")
            line = _read_line(connection)
        except (ConnectionError, FileNotFoundError):
            raise NoProcess(who) from None
        except (TimeoutError, BlockingIOError):  # the latter: too many ask already
            raise EngineError(errno.ETIMEDOUT, f"{who} does not answer") from None
    if not line.endswith(b"\n"):
        raise NoProcess(who)
    return dialogue.unpack_reply(kind, json.loads(line))


def _read_line(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
        if piece.endswith(b"\n"):
            break
    return b"".join(pieces)


class ControlSocket:
    """The process's end: performs orders, several at once."""

    def __init__(self, reactor: Reactor, listener: socket.socket, perform: Perform) -> None:
        self._reactor = reactor
        self._listener = listener
        self._perform = perform
        listener.settimeout(0)
        reactor.watch(listener.fileno(), IN, self._accept)

    def _accept(self, _mask: int) -> None:
        try:
            connection, _peer = self._listener.accept()
        except OSError:
            return
        _Caller(self._reactor, connection, self._perform)


class _Caller:
    """One connected agent; it gives one order at a time."""

    def __init__(self, reactor: Reactor, connection: socket.socket, perform: Perform) -> None:
        self._reactor = reactor
        self._connection = connection
        self._perform = perform
        self._line = b""
        self._open = True
        connection.settimeout(0)
        reactor.watch(connection.fileno(), IN, self._read)

    def _read(self, _mask: int) -> None:
        try:
            piece = self._connection.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._line += piece
        if not piece or len(self._line) > LONGEST_LINE:
            self._close()
        elif self._line.endswith(b"\n"):
            line, self._line = self._line, b""
            LoopTask(self._serve(line))

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._reactor.forget(self._connection.fileno())
            self._reactor.closing.append(self._connection)

    async def _serve(self, line: bytes) -> None:
        try:
            order = dialogue.unpack_order(json.loads(line))
            answer = dialogue.value_reply(await self._perform(order))
        except EngineError as error:
            answer = dialogue.error_reply(error)
        except ValueError as error:
            answer = dialogue.error_reply(EngineError(errno.EINVAL, f"not an order: {error}"))
        if self._open:
            self._answer(json.dumps(answer).encode() + b"\n")

    def _answer(self, line: bytes) -> None:
        # The agent waits for exactly this, so the wait is short; it may not hold up the volume.
        self._connection.settimeout(2)
        try:
            self._connection.sendall(line)
        except OSError:
            self._close()
        else:
            self._connection.settimeout(0)
