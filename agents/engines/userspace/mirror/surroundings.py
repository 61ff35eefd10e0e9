"""What a mirror needs of the group it is part of."""

from collections.abc import Callable
from typing import Protocol

from agents.engines.userspace.loop.tasks import Later
from agents.engines.userspace.mirror.intent import MirrorIntent, MissedChunks
from agents.engines.userspace.mirror.replica import Replica


class Surroundings(Protocol):
    """The group as its mirrors see it."""

    epoch: int

    def save(self) -> Later:
        """Put the state of all replicas on disk; the reply comes once it is there."""

    def missed_chunks(self, dextid: int, intent: MirrorIntent) -> MissedChunks:
        """Open the map of what a replica lacks."""

    def reconnect(
        self, replica: Replica, size: int, lost: Callable[[str], None], found: Callable[[], None]
    ) -> None:
        """Try to reach the last good replica again, for as long as it takes; call `found` then."""

    def log(self, text: str) -> None:
        """Tell whoever reads the process's log."""
