"""What a mirror needs of the group it is part of."""

from collections.abc import Callable
from typing import Protocol

from agents.engines.userspace.loop.coroutines import Future
from agents.engines.userspace.mirror.live_replica import LiveReplica
from agents.engines.userspace.mirror.missed_chunks import MissedChunks
from agents.engines.userspace.mirror.write_intent import DirtyRegions


class MirrorOwner(Protocol):
    """The group as its mirrors see it."""

    epoch: int

    def save(self) -> Future:
        """Put the state of all replicas on disk; the reply comes once it is there."""

    def missed_chunks(self, dextid: int, regions: DirtyRegions) -> MissedChunks:
        """Open the map of what a replica lacks."""

    def reconnect(
        self,
        replica: LiveReplica,
        size: int,
        lost: Callable[[str], None],
        found: Callable[[], None],
    ) -> None:
        """Try to reach the last good replica again, for as long as it takes; call `found` then."""

    def log(self, text: str) -> None:
        """Tell whoever reads the process's log."""
