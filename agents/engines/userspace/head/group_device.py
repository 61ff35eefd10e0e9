"""One device of a group with all that belongs to it, and what is told of it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from agents.engines.userspace.head.state_file import SavedDevice, SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import LiveReplica
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK
from agents.ondisk import MIB
from agents.protocol import DeviceState, Reason, ReplicaReport, ReplicaState

if TYPE_CHECKING:
    from agents.engines.userspace.head.published_device import PublishedDevice
    from agents.engines.userspace.snapshot.snapshot import Snapshot


class GroupDevice:
    """The origin, or a snapshot with its store."""

    __slots__ = ("published", "snapshot", "spec", "volume")

    def __init__(self, spec: SavedDevice, volume: Volume) -> None:
        self.spec = spec
        self.volume = volume
        self.snapshot: Snapshot | None = None
        self.published: PublishedDevice | None = None

    @property
    def lvolid(self) -> int:
        """The volume's id."""
        return self.volume.lvolid

    @property
    def served(self) -> messages.BlockDevice:
        """What clients open."""
        return self.volume if self.snapshot is None else self.snapshot

    @property
    def broken(self) -> bool:
        """Tell whether it is a snapshot that lost its meaning."""
        return self.snapshot is not None and self.snapshot.broken

    @property
    def clients(self) -> int:
        """Count who has it open."""
        return self.published.clients if self.published is not None else 0

    def replicas(self) -> list[LiveReplica]:
        """List all replicas of all mirrors."""
        return [replica for mirror in self.volume.mirrors for replica in mirror.replicas]

    def state(self) -> DeviceState:
        """Tell of it."""
        held = self.snapshot.held * COW_CHUNK // MIB if self.snapshot is not None else 0
        waiting = max(mirror.outage.seconds for mirror in self.volume.mirrors)
        return DeviceState(self.lvolid, self.clients, held, self.broken, waiting)

    def saved(self) -> SavedDevice:
        """Describe it so that it can be made again."""
        mirrors = tuple(
            SavedMirror(
                mirror.mirrorid,
                before.size_gb,
                mirror.events,
                bool(mirror.unsynced),
                tuple(_saved_replica(replica) for replica in mirror.replicas),
            )
            for mirror, before in zip(self.volume.mirrors, self.spec.mirrors, strict=True)
        )
        return replace(self.spec, broken=self.broken, mirrors=mirrors)

    def distrusted(self, reports: tuple[ReplicaReport, ...]) -> tuple[ReplicaReport, ...]:
        """Report a broken snapshot's replicas as faulty: its store must never be trusted again."""
        mine = {mirror.mirrorid for mirror in self.volume.mirrors} if self.broken else set()
        return tuple(
            replace(report, state=ReplicaState.FAULTY, reason=Reason.IO)
            if report.mirrorid in mine
            else report
            for report in reports
        )


def _saved_replica(replica: LiveReplica) -> SavedReplica:
    return SavedReplica(
        replica.dextid,
        replica.addresses,
        replica.port,
        replica.export,
        replica.state,
        replica.reason,
        replica.events,
        replica.done_mib,
        replica.total_mib,
    )
