"""How far storage servers are from this head, by each network: measured while the manager asks."""

import errno
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from itertools import islice, repeat
from statistics import median

from agents.errors import AgentError
from agents.protocol import LAST_PORT, MOST_PATHS, NO_ANSWER, NOT_MEASURED, PathQuestion, PathReply

TRIES = 3
LIMIT = 1.0
"""Seconds after which an address does not answer; a packet that is lost is sent again by then."""
AT_ONCE = 128
PAUSE = 10.0
TIMEOUT = 300.0
"""For so many seconds after the last question we go on."""


class PathWatch:
    """Measures in a thread of its own, which ends when nobody asks any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._wanted = PathQuestion((), 0)
        self._asked = 0.0
        self._thread: threading.Thread | None = None
        self._measured: dict[str, int] = {}
        self._measured_at = 0.0

    def tell(self, question: PathQuestion) -> PathReply:
        """Tell what was measured last, and measure these addresses from now on."""
        if not all(map(_is_address, question.addresses)):
            raise AgentError(errno.EINVAL, "IPv4 addresses are measured, and no names")
        if len(question.addresses) > MOST_PATHS:
            raise AgentError(errno.E2BIG, f"{MOST_PATHS} addresses at most are measured")
        if question.ports and len(question.ports) != len(question.addresses):
            raise AgentError(errno.EINVAL, "each address has one port, or all have the same")
        if not all(0 < port <= LAST_PORT for port in question.ports):
            raise AgentError(errno.EINVAL, f"a port is 1 to {LAST_PORT}")
        with self._lock:
            if question != self._wanted:
                self._wanted = question
                self._news.set()
            self._asked = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="paths", daemon=True)
                self._thread.start()
            micros = tuple(self._measured.get(one, NOT_MEASURED) for one in question.addresses)
            return PathReply(micros, int(self._asked - self._measured_at) if self._measured else 0)

    def _run(self) -> None:
        while (wanted := self._next()) is not None:
            measured = measure(_ways(wanted))
            with self._lock:
                self._measured, self._measured_at = measured, time.monotonic()
            self._news.wait(PAUSE)

    def _next(self) -> PathQuestion | None:
        """Give what to measure now; None, once nobody has asked for a while."""
        with self._lock:
            self._news.clear()
            if time.monotonic() - self._asked > TIMEOUT:
                self._thread, self._measured = None, {}
                return None
            return self._wanted


def _ways(question: PathQuestion) -> dict[str, int]:
    ports = question.ports or repeat(question.port)
    return dict(zip(question.addresses, ports, strict=False))


def measure(ports: Mapping[str, int], limit: float = LIMIT) -> dict[str, int]:
    """Tell how many microseconds each address takes to answer: the median of a few tries.

    A try that is not answered counts as the whole limit; NO_ANSWER if none is. Who refuses the
    connection has answered: it is the network that is measured, not the agent.
    """
    left = iter(ports.items())
    found: dict[str, int] = {}
    while chunk := dict(islice(left, AT_ONCE)):
        tries: list[dict[str, float]] = []
        for _ in range(TRIES):
            tries.append(_try(chunk, limit))
            if not tries[-1]:
                break  # nobody there answers: each further try would take its whole time again
        for one in chunk:
            times = [answered.get(one, limit) for answered in tries]
            is_there = any(one in answered for answered in tries)
            found[one] = int(median(times) * 1_000_000) if is_there else NO_ANSWER
    return found


def _try(ports: Mapping[str, int], limit: float) -> dict[str, float]:
    """Connect to all at once; the seconds until each that answers has answered."""
    found: dict[str, float] = {}
    began: dict[socket.socket, tuple[str, float]] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for address, port in ports.items():
                one = _begin(address, port)
                if one is not None:
                    began[one] = (address, time.monotonic())
                    selector.register(one, selectors.EVENT_WRITE, one)
            found.update(_answers(selector, began, time.monotonic() + limit))
        finally:
            for one in began:
                one.close()
    return found


def _is_address(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


def _begin(address: str, port: int) -> socket.socket | None:
    """Send the first packet; None where there is no way at all."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if one.connect_ex((address, port)) in {0, errno.EINPROGRESS, errno.ECONNREFUSED}:
        return one
    one.close()
    return None


def _answers(
    selector: selectors.BaseSelector,
    began: dict[socket.socket, tuple[str, float]],
    end: float,
) -> Iterator[tuple[str, float]]:
    waiting = len(began)
    while waiting and (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            now, one = time.monotonic(), key.data
            selector.unregister(one)
            waiting -= 1
            address, start = began[one]
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {0, errno.ECONNREFUSED}:
                yield address, now - start
