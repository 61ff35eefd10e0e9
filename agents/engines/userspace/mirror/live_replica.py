"""One replica of a mirror as the head sees it: an extent somewhere, and the connection to it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.client_connection import LOST
from agents.protocol import Reason

if TYPE_CHECKING:
    from agents.engines.userspace.mirror.missed_chunks import MissedChunks
    from agents.engines.userspace.nbd.client_connection import ClientConnection


class LiveState(StrEnum):
    """A replica's state as its process knows it.

    QUEUED and BUILDING: to be built, and being built, which receives writes and is copied to. Both
    are reported as spares.
    """

    INSYNC = "insync"
    SPARE = "spare"
    FAULTY = "faulty"
    QUEUED = "queued"
    BUILDING = "building"

    __hash__ = str.__hash__  # an enum's own is written in Python, and mirrors look often


# As names of the module they are quicker to reach, for the hot path.
INSYNC, SPARE, FAULTY, QUEUED, BUILDING = LiveState
WRITTEN = frozenset((INSYNC, BUILDING))
LACKING = frozenset((FAULTY, QUEUED))
TO_BUILD = frozenset((QUEUED, BUILDING))


class LiveReplica:
    """A replica; a device once it is connected."""

    __slots__ = (
        "addresses",
        "connection",
        "dextid",
        "done_mib",
        "events",
        "export",
        "instance",
        "missed",
        "port",
        "reason",
        "replaces",
        "state",
        "total_mib",
    )

    def __init__(
        self,
        dextid: int,
        addresses: Sequence[str],
        port: int,
        export: str,
        state: LiveState,
        reason: Reason = Reason.NONE,
        events: int = 0,
    ) -> None:
        self.dextid = dextid
        self.addresses = tuple(addresses)
        self.port = port
        self.export = export
        self.state = state
        self.reason = reason
        self.events = events
        self.instance = ""
        self.missed: MissedChunks | None = None
        self.connection: ClientConnection | None = None
        self.replaces = 0
        self.done_mib = 0
        self.total_mib = 0

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Pass a request to the replica; one that was never reached answers LOST."""
        connection = self.connection
        if connection is None:
            done(LOST, None)
        else:
            connection.submit(command, offset, length, data, flags, done)

    def under_way(self) -> int:
        """Count the requests that the replica has not answered."""
        return len(self.connection.pending) if self.connection is not None else 0

    def is_reachable(self) -> bool:
        """Tell whether the replica is connected."""
        return self.connection is not None and not self.connection.closed

    def has_hung_up(self) -> bool:
        """Tell whether its server ended the connection, rather than fell silent."""
        return self.connection is not None and self.connection.closed and not self.connection.silent

    def is_served_anew(self) -> bool:
        """Tell whether another process serves it than did when it was used last, or may."""
        told = self.connection.instance if self.connection is not None else ""
        return not told or told != self.instance

    def note_instance(self) -> None:
        """It is used from here on as the process serves it that does now."""
        self.instance = self.connection.instance if self.connection is not None else ""

    def drop(self) -> None:
        """Cut the connection so that nothing of it can arrive late."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()

    def goodbye(self) -> None:
        """Part from the replica in good order."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.goodbye()
