"""Reaching replicas: connecting, and reaching a last good replica again."""

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.tasks import Later, Task
from agents.engines.userspace.mirror.replica import INSYNC, Replica
from agents.engines.userspace.nbd.client import Remote, open_remote
from agents.ondisk import MARK_BYTES

RECONNECT_SECONDS = 0.5

Lost = Callable[[str], None]


class Connections:
    """Makes the connections of a group's replicas."""

    def __init__(self, reactor: Reactor, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self.stopped = False

    def connect(self, replica: Replica, size: int, lost: Lost) -> Later:
        """Connect a replica; the reply has an errno and the reason if it cannot be reached."""
        connected = Later()

        def opened(remote: Remote | None, why: str) -> None:
            if remote is None:
                connected(errno.EHOSTUNREACH, why)
            elif remote.size < size + MARK_BYTES:
                remote.goodbye()
                connected(errno.EINVAL, "the export is too small")
            else:
                replica.remote = remote
                remote.on_lost = lost
                connected(0)

        open_remote(
            self._reactor, replica.addresses, replica.port, replica.export, self._timeout, opened
        )
        return connected

    def reconnect(self, replica: Replica, size: int, lost: Lost, found: Callable[[], None]) -> None:
        """Try for as long as it takes to reach a last good replica again."""
        Task(self._reconnect(replica, partial(self.connect, replica, size, lost), found))

    async def _reconnect(
        self, replica: Replica, connect: Callable[[], Later], found: Callable[[], None]
    ) -> None:
        while True:
            waited = Later()
            self._reactor.after(RECONNECT_SECONDS, waited)
            await waited
            if self.stopped or replica.state != INSYNC or replica.is_reachable():
                return
            reached: tuple[int, Any] = await connect()
            if not reached[0]:
                found()
                return
