"""How much memory the clients of one device may hold: requests under way, answers not yet taken."""

from collections import deque
from typing import Protocol

from agents.engines.userspace.loop.reactor import Reactor

CLIENT_BYTES = 64 << 20
DEVICE_BYTES = 128 << 20
REQUEST_BYTES = 256
"""What a request costs beside its payload, and its answer again."""
DEAF_SECONDS = 10.0


class Holder(Protocol):
    """A client as its device's budget sees it."""

    held: int

    def go_on(self) -> None:
        """Take the request that waited."""

    def is_deaf(self, seconds: float) -> bool:
        """Tell whether it has answers to take and took none for so long."""

    def close(self, reason: str = "") -> None:
        """End the connection."""


class Budget:
    """The room of one device; a request that finds none waits, and its client is not read from.

    A client that takes no answers holds its own room only for as long as nobody else wants it.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._held = 0
        self._holders: set[Holder] = set()
        self._waiting: deque[tuple[Holder, int]] = deque()
        self._watched = False

    def enter(self, holder: Holder) -> None:
        """Count a client."""
        self._holders.add(holder)

    def leave(self, holder: Holder) -> None:
        """Count a client no more; what it has under way is held until it is done."""
        self._holders.discard(holder)
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not holder)
        self._let_in()

    def take(self, holder: Holder, size: int) -> bool:
        """Hold so many bytes for a request; if there is no room, its client goes on later."""
        if (
            not self._waiting
            and holder.held + size <= CLIENT_BYTES
            and self._held + size <= DEVICE_BYTES
        ):
            holder.held += size
            self._held += size
            return True
        self._waiting.append((holder, size))
        self._let_in(holder)
        return not any(waiting is holder for waiting, _ in self._waiting)

    def give(self, holder: Holder, size: int) -> None:
        """Give bytes back."""
        holder.held -= size
        self._held -= size
        if self._waiting:
            self._let_in()

    def _let_in(self, asking: Holder | None = None) -> None:
        """Hold for whom there is room; nobody passes one who waits for what others hold."""
        for waiting in tuple(self._waiting):
            holder, size = waiting
            if holder.held and holder.held + size > CLIENT_BYTES:
                continue
            if self._held and self._held + size > DEVICE_BYTES:
                self._watch()
                return
            self._waiting.remove(waiting)
            holder.held += size
            self._held += size
            if holder is not asking:
                self._reactor.soon.append(holder.go_on)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._reactor.after(DEAF_SECONDS, self._end_the_deaf)

    def _end_the_deaf(self) -> None:
        self._watched = False
        for holder in tuple(self._holders):
            if self._waiting and holder.is_deaf(DEAF_SECONDS):
                holder.close("it took no answers, and others waited for the room")
        self._let_in()
