"""What a mirror needs of the group it is part of."""

from collections.abc import Callable
from typing import Protocol

from agents.engines.userspace.loop.tasks import Later
from agents.engines.userspace.mirror.intent import MirrorIntent, MissedChunks
from agents.engines.userspace.mirror.leg import Leg


class Surroundings(Protocol):
    """The group as its mirrors see it."""

    epoch: int

    def save(self) -> Later:
        """Put the state of all copies on disk; the reply comes once it is there."""

    def missed_chunks(self, dextid: int, intent: MirrorIntent) -> MissedChunks:
        """Open the map of what a copy lacks."""

    def reconnect(
        self, leg: Leg, size: int, lost: Callable[[str], None], found: Callable[[], None]
    ) -> None:
        """Try to reach the last good copy again, for as long as it takes; call `found` then."""

    def log(self, text: str) -> None:
        """Tell whoever reads the process's log."""
