"""Who has sent its whole request gets a thread; until then it waits in a place that costs none.

Threads wait in turn at one epoll. The one that is woken takes what its connection has sent and,
once the request is whole, answers it itself: handing it over would cost as much again as a short
call. A connection belongs to the thread that took it out of `_waiting`, and to nobody else.
"""

import errno
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from agents.reception.http_connection import Phase, RequestConnection, Response
from agents.reception.http_request import BadRequest, Request, parse

logger = logging.getLogger(__name__)

IN, OUT, ONCE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLONESHOT
END_OF_HEAD = b"\r\n\r\n"
LOOK_SECONDS = 0.25
LINGER_MS = 2
"""Longer than a program takes from an answer to its next call, and too short to matter else."""
ACCEPTED_AT_ONCE = 64
FULL = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is held for whom, and for how long."""

    threads: int = 64
    """Calls at work; threads are started when they are needed."""
    waiting: int = 1024
    """Connections that wait. Over that, whoever has the most of them loses its oldest."""
    head_bytes: int = 64 << 10
    body_bytes: int = 2 << 20
    held_bytes: int = 64 << 20
    """Of all bodies that are not whole. Over that, the connection that holds most is ended."""
    request_seconds: float = 10.0
    """For the handshake and the head together, and again for the body."""
    idle_seconds: float = 30.0
    """Between two requests, and for a client to take a part of a stream."""
    answer_seconds: float = 300.0
    """For a client to take its whole answer."""
    thrown_away_bytes: int = 128 << 20
    """Of a body that nobody wants, after the answer, so that it is heard."""
    rest_seconds: float = 0.2
    """A client whose body takes longer is told whether it is let in before it has sent it."""


class Door(Protocol):
    """Who answers."""

    def admit(self, request: Request) -> Response | None:
        """Refuse from the head alone, or let the body come."""

    def answer(self, request: Request, body: bytes | None) -> Response:
        """Answer a request; without a body it is one that is too long."""


class Reception:
    """Listens at some addresses and answers what comes there by a door."""

    def __init__(
        self,
        door: Door,
        bounds: Bounds | None = None,
        secure: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._door = door
        self._bounds = bounds or Bounds()
        self._secure = secure
        self._lock = threading.Lock()
        self._waiting: dict[int, RequestConnection] = {}
        self._held = 0
        self._threads = self._idle = 0
        self._ending = threading.Event()
        self._epoll = select.epoll()
        self._end = os.eventfd(0)
        self._listeners: dict[int, socket.socket] = {}

    def listen(self, host: str, port: int) -> None:
        """Take an address; OSError where it cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
        listener.settimeout(0)
        self._listeners[listener.fileno()] = listener

    def start(self) -> None:
        """Begin to answer."""
        self._epoll.register(self._end, IN)
        for listener in self._listeners:
            self._epoll.register(listener, IN | ONCE)
        with self._lock:
            self._threads += 1
        self._start_thread()
        threading.Thread(target=self._look, name="reception", daemon=True).start()

    def stop(self, seconds: float = 5.0) -> None:
        """Answer nobody any more; who is being answered has so long."""
        with self._lock:
            self._ending.set()
        os.eventfd_write(self._end, 1)
        end = time.monotonic() + seconds
        while self._threads and time.monotonic() < end:
            time.sleep(0.01)
        self.close()
        if not self._threads:
            self._epoll.close()
            os.close(self._end)

    def close(self) -> None:
        """Stop listening."""
        for listener in self._listeners.values():
            listener.close()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for connection in waiting.values():
            connection.close()

    # -- threads that wait in turn ----------------------------------------------------------------

    def _start_thread(self) -> None:
        threading.Thread(target=self._follow, name="answer", daemon=True).start()

    def _follow(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                self._idle += 1
            ((fd, _),) = self._epoll.poll(-1, 1)
            with self._lock:
                self._idle -= 1
                alone = self._is_short_of_threads()
                self._threads += alone
                connection = self._waiting.pop(fd, None)
                if connection is not None:
                    self._held -= len(connection.buffer)
            if self._ending.is_set():
                if connection is not None:
                    connection.close()
                break
            if alone:
                self._start_thread()
            if connection is not None:
                self._serve(connection)
            elif fd in self._listeners:
                self._accept(self._listeners[fd])
        with self._lock:
            self._threads -= 1

    def _is_short_of_threads(self) -> bool:
        ending = self._ending.is_set()
        return not self._idle and not ending and self._threads < self._bounds.threads

    def _accept(self, listener: socket.socket) -> None:
        try:
            for _ in range(ACCEPTED_AT_ONCE):
                sock, address = listener.accept()
                self._welcome(sock, address[0])
        except BlockingIOError:
            pass
        except OSError as error:
            logger.warning("a connection cannot be accepted: %s", error)
            if error.errno in FULL:
                self._make_room()
                time.sleep(LOOK_SECONDS)
        if not self._ending.is_set():
            self._epoll.modify(listener.fileno(), IN | ONCE)

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        deadline = time.monotonic() + self._bounds.request_seconds
        connection = RequestConnection(sock, peer, deadline, secure=self._secure is not None)
        self._epoll.register(sock.fileno(), ONCE)
        self._wait(connection, IN)

    # -- one connection, in the thread that took it -----------------------------------------------

    def _serve(self, connection: RequestConnection) -> None:
        try:
            while self._step(connection):
                pass
            self._wait(connection, IN)
        except ssl.SSLWantWriteError:
            self._wait(connection, OUT)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._wait(connection, OUT if connection.phase is Phase.ANSWER else IN)
        except BadRequest as refusal:
            self._refuse(connection, refusal.status)
        except OSError as error:
            if connection.phase is Phase.GREETING:
                logger.info("%s was not let in: %s", connection.peer, error)
            connection.close()
        except Exception:
            logger.exception("a request from %s", connection.peer)
            connection.close()

    def _step(self, connection: RequestConnection) -> bool:
        """Do the next thing; False if nothing is to be done before more comes."""
        if connection.phase is Phase.HEAD:
            return self._read_head(connection)
        if connection.phase is Phase.BODY:
            return self._read_body(connection)
        if connection.phase is Phase.ANSWER:
            connection.push()
            return self._answered(connection)
        if connection.phase is Phase.DRAIN:
            connection.discard()
        elif self._secure is not None:
            connection.greet(self._secure)
            connection.phase = Phase.HEAD
        return True

    def _read_head(self, connection: RequestConnection) -> bool:
        end = connection.buffer.find(END_OF_HEAD)
        if end < 0:
            if len(connection.buffer) > self._bounds.head_bytes:
                raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if connection.buffer and not connection.buffer[:1].isupper():
                raise BadRequest(HTTPStatus.BAD_REQUEST)  # TLS, for example, has no end of a head
            return connection.receive()
        head = bytes(connection.buffer[:end])
        del connection.buffer[: end + len(END_OF_HEAD)]
        request = parse(head, connection.peer, connection.server, secure=connection.secure)
        connection.request, connection.last = request, not request.goes_on
        connection.admitted = False
        connection.phase, connection.since = Phase.BODY, time.monotonic()
        connection.deadline = connection.since + self._bounds.request_seconds
        return True

    def _read_body(self, connection: RequestConnection) -> bool:
        request = connection.request
        assert request is not None  # noqa: S101 - a body has a head
        if request.length > self._bounds.body_bytes:
            self._answer(connection, self._door.answer(request, None), request.length)
        elif len(connection.buffer) >= request.length:
            body = bytes(connection.buffer[: request.length])
            del connection.buffer[: request.length]
            self._answer(connection, self._door.answer(request, body))
        elif connection.asked_to_admit or (request.asks_first and not connection.admitted):
            connection.asked_to_admit, connection.admitted = False, True
            refusal = self._door.admit(request)
            if refusal is not None:
                self._answer(connection, refusal, request.length)
            elif request.asks_first:
                connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            return connection.receive()
        return True

    def _answer(self, connection: RequestConnection, response: Response, unread: int = 0) -> None:
        """Send what the client takes at once; `unread` bytes of its request are still to come."""
        connection.last |= response.last or unread > 0
        connection.unread = unread
        connection.phase = Phase.ANSWER
        connection.deadline = time.monotonic() + self._bounds.answer_seconds
        connection.queue(response)
        if isinstance(response.body, bytes):
            return
        try:
            connection.stream(response.body, self._bounds.idle_seconds)
        finally:
            if close := getattr(response.body, "close", None):
                close()

    def _answered(self, connection: RequestConnection) -> bool:
        if connection.last:
            connection.phase = Phase.DRAIN
            connection.unread = min(connection.unread, self._bounds.thrown_away_bytes) + 1
            connection.deadline = time.monotonic() + self._bounds.request_seconds
            connection.sock.shutdown(socket.SHUT_WR)
            return True
        connection.phase = Phase.HEAD
        connection.request = None
        connection.since = time.monotonic()
        connection.deadline = connection.since + self._bounds.idle_seconds
        return self._comes_again(connection) or bool(connection.buffer) or connection.secure

    def _comes_again(self, connection: RequestConnection) -> bool:
        """Wait a moment for the next request, if others can answer meanwhile; tell if it is there.

        So one thread answers who calls again and again, without a turn in the place to wait in.
        """
        return not connection.buffer and self._idle > 0 and connection.arrives(LINGER_MS)

    def _refuse(self, connection: RequestConnection, status: HTTPStatus) -> None:
        """Answer what is no request, and read no other from this connection."""
        connection.last = True
        words = f"{status.value} {status.phrase}\n".encode()
        connection.request = None
        connection.queue(Response(status, [("Content-Type", "text/plain")], words))
        connection.phase = Phase.ANSWER
        connection.unread = self._bounds.body_bytes
        self._serve(connection)

    # -- the place to wait in ---------------------------------------------------------------------

    def _wait(self, connection: RequestConnection, events: int) -> None:
        with self._lock:
            if self._ending.is_set():
                connection.close()
                return
            fd = connection.sock.fileno()
            self._waiting[fd] = connection
            self._held += len(connection.buffer)
            crowded = len(self._waiting) > self._bounds.waiting
            heavy = self._held > self._bounds.held_bytes
        # Not under the lock: Python lets other threads run meanwhile, and all of them want it. If
        # the connection was ended just now, this wakes a thread for nothing, or does nothing.
        with suppress(OSError):
            self._epoll.modify(fd, events | ONCE)
        if crowded:
            self._make_room()
        if heavy:
            self._drop_heaviest()

    def _make_room(self) -> None:
        """End the oldest connections of whoever has the most."""
        with self._lock:
            ((peer, count),) = Counter(c.peer for c in self._waiting.values()).most_common(1) or [
                ("", 0)
            ]
            many = max(1, min(count, self._bounds.waiting // 16))
            theirs = [c for c in self._waiting.values() if c.peer == peer]
            oldest = sorted(theirs, key=lambda connection: connection.since)[:many]
            self._drop(oldest)
        logger.info("%s has too many connections; %d are ended", peer, len(oldest))

    def _drop_heaviest(self) -> None:
        with self._lock:
            heaviest = max(self._waiting.values(), key=lambda c: len(c.buffer), default=None)
            self._drop([heaviest] if heaviest else [])

    def _drop(self, connections: Sequence[RequestConnection]) -> None:
        """End some that wait, holding the lock."""
        for connection in connections:
            del self._waiting[connection.sock.fileno()]
            self._held -= len(connection.buffer)
            connection.close()

    def _look(self) -> None:
        """End what is overdue; have those asked who they are whose body takes its time."""
        while not self._ending.is_set():
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            with self._lock:
                if self._ending.is_set():
                    return
                waiting = list(self._waiting.values())
                overdue = [c for c in waiting if c.deadline <= now]
                for connection in overdue:
                    if connection.phase is Phase.BODY:
                        connection.say(OVERDUE)
                self._drop(overdue)
                for connection in waiting:
                    if self._may_be_asked(connection, now):
                        connection.asked_to_admit = True
                        self._epoll.modify(connection.sock.fileno(), IN | OUT | ONCE)

    def _may_be_asked(self, connection: RequestConnection, now: float) -> bool:
        return (
            connection.phase is Phase.BODY
            and not connection.admitted
            and now - connection.since > self._bounds.rest_seconds
            and connection.sock.fileno() in self._waiting
        )


OVERDUE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
