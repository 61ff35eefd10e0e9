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
    timeout: float
    """Seconds for which replicas that left together with one that is back are waited for."""

    @property
    def storage_wait(self) -> float:
        """Seconds for which requests wait while no good replica can be reached."""

    def save(self) -> Future:
        """Put the state of all replicas on disk; the reply comes once it is there."""

    def missed_chunks(self, dextid: int, regions: DirtyRegions) -> MissedChunks:
        """Open the map of what a replica lacks."""

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, later."""

    def why_lost(self, replica: LiveReplica) -> Future:
        """Give a reply with ESTALE if the process that served a replica now refuses it."""

    def reconnect(
        self,
        replica: LiveReplica,
        size: int,
        lost: Callable[[str], None],
        found: Callable[[], None],
        evicted: Callable[[], None],
    ) -> None:
        """Try to reach a good replica again, for as long as it is good; call `found` then.

        `evicted` is called each time that the process which served it is there and refuses it.
        """

    def reached(self, mirrorid: int) -> None:
        """Replicas of a mirror of which none could be reached are back."""

    def log(self, text: str) -> None:
        """Tell whoever reads the process's log."""
