"""Reaching replicas: connecting, and reaching good replicas again."""

import errno
from collections.abc import Callable
from functools import partial

from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.mirror.live_replica import INSYNC, LiveReplica
from agents.engines.userspace.nbd.client_connection import (
    ClientConnection,
    Opened,
    open_connection,
)
from agents.ondisk import MARK_BYTES

RECONNECT_SECONDS = 0.5
WHY_SECONDS = 2.0
"""In which each address of one that hung up may say why: clients wait for that."""

Lost = Callable[[str], None]


class Connections:
    """Makes the connections of a group's replicas."""

    def __init__(self, reactor: Reactor, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self.stopped = False

    def connect(self, replica: LiveReplica, size: int, lost: Lost) -> Future:
        """Connect a replica; the reply has an errno and the reason if it cannot be reached.

        ESTALE: the process that served it is there and serves it no more.
        """
        connected = Future()

        def opened(connection: ClientConnection | None, why: str) -> None:
            if connection is None:
                connected(_refusal(replica, why), why)
            elif connection.size < size + MARK_BYTES:
                connection.goodbye()
                connected(errno.EINVAL, "the export is too small")
            else:
                replica.connection = connection
                if not replica.instance:
                    replica.note_instance()
                connection.on_lost = lost
                connected(0)

        self._open(replica, self._timeout, opened)
        return connected

    def why_lost(self, replica: LiveReplica) -> Future:
        """Ask why a connection ended: ESTALE as for `connect`, 0 where it would be served."""
        told = Future()

        def opened(connection: ClientConnection | None, why: str) -> None:
            if connection is None:
                told(_refusal(replica, why))
            else:
                connection.goodbye()
                told(0)

        self._open(replica, min(self._timeout, WHY_SECONDS), opened)
        return told

    def _open(self, replica: LiveReplica, timeout: float, opened: Opened) -> None:
        open_connection(
            self._reactor, replica.addresses, replica.port, replica.export, timeout, opened
        )

    def reconnect(
        self,
        replica: LiveReplica,
        size: int,
        lost: Callable[[str], None],
        found: Callable[[], None],
        evicted: Callable[[], None],
    ) -> None:
        """Try to reach a good replica again, for as long as it is good."""
        connect = partial(self.connect, replica, size, lost)
        LoopTask(self._reconnect(replica, connect, found, evicted))

    async def _reconnect(
        self,
        replica: LiveReplica,
        connect: Callable[[], Future],
        found: Callable[[], None],
        evicted: Callable[[], None],
    ) -> None:
        while True:
            waited = Future()
            self._reactor.after(RECONNECT_SECONDS, waited)
            await waited
            if self.stopped or replica.state != INSYNC or replica.is_reachable():
                return
            error, _ = await connect()
            if replica.state != INSYNC:
                replica.drop()
            elif error == errno.ESTALE:
                evicted()
            elif not error:
                found()


def _refusal(replica: LiveReplica, why: str) -> int:
    evicted = bool(replica.instance) and replica.instance in why
    return errno.ESTALE if evicted else errno.EHOSTUNREACH
