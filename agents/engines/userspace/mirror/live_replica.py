"""One replica of a mirror as the head sees it: an extent somewhere, and the connection to it."""

import errno
from typing import TYPE_CHECKING, Any

from agents.engines.userspace.nbd import messages

if TYPE_CHECKING:
    from agents.engines.userspace.mirror.missed_chunks import MissedChunks
    from agents.engines.userspace.nbd.client_connection import ClientConnection

INSYNC, SPARE, FAULTY = "insync", "spare", "faulty"
QUEUED, BUILDING = "queued", "building"
"""To be built, and being built: receives writes and is copied to. Told to others as spares."""

CONNECTION, IO, ASKED, STALE = "connection", "io", "asked", "stale"


class LiveReplica:
    """A replica; a device once it is connected."""

    __slots__ = (
        "addresses",
        "connection",
        "dextid",
        "done_mib",
        "events",
        "export",
        "missed",
        "port",
        "replaces",
        "state",
        "total_mib",
        "why",
    )

    def __init__(self, spec: dict[str, Any]) -> None:
        self.dextid: int = spec["dextid"]
        self.addresses: list[str] = list(spec["addresses"])
        self.port: int = spec["port"]
        self.export: str = spec["export"]
        self.state: str = spec["state"]
        self.why: str = spec.get("why", "")
        self.events: int = spec.get("events", 0)
        self.missed: MissedChunks | None = None
        self.connection: ClientConnection | None = None
        self.replaces = 0
        self.done_mib = 0
        self.total_mib = 0

    def spec(self) -> dict[str, Any]:
        """Describe it so that it can be made again."""
        return {
            "dextid": self.dextid,
            "addresses": self.addresses,
            "port": self.port,
            "export": self.export,
            "state": self.state,
            "why": self.why,
            "events": self.events,
            "done_mib": self.done_mib,
            "total_mib": self.total_mib,
        }

    def submit(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Pass a request to the replica; one that was never reached answers EIO."""
        connection = self.connection
        if connection is None:
            done(errno.EIO, None)
        else:
            connection.submit(command, offset, length, data, flags, done)

    def under_way(self) -> int:
        """Count the requests that the replica has not answered."""
        return len(self.connection.pending) if self.connection is not None else 0

    def is_reachable(self) -> bool:
        """Tell whether the replica is connected."""
        return self.connection is not None and not self.connection.closed

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
