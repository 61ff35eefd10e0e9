"""One device of a group with all that belongs to it, and what is told of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.engines.base import DeviceFigures
from agents.engines.userspace.head.state_file import (
    SavedDevice,
    SavedMirror,
    SavedReplica,
    distrusted,
    relocated,
    replica_report,
)
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import FAULTY, INSYNC, LiveReplica
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK
from agents.ondisk import MIB
from agents.protocol import DeviceState, Reason, ReplicaReport, ReplicaSpec, ReplicaState

if TYPE_CHECKING:
    from agents.engines.userspace.head.published_device import PublishedDevice
    from agents.engines.userspace.snapshot.snapshot import Snapshot


class GroupDevice:
    """The origin, or a snapshot with its store.

    Until its volume is `joined` (connected, marked, and that is recorded) it is what `spec` says.
    """

    __slots__ = ("joined", "published", "snapshot", "spec", "volume")

    def __init__(self, spec: SavedDevice) -> None:
        self.spec = spec
        self.volume = Volume(spec.lvolid, ())
        self.joined = False
        self.snapshot: Snapshot | None = None
        self.published: PublishedDevice | None = None

    @property
    def lvolid(self) -> int:
        """The volume's id."""
        return self.spec.lvolid

    @property
    def served(self) -> messages.ServedDevice:
        """What clients open."""
        return self.volume if self.snapshot is None else self.snapshot

    @property
    def broken(self) -> bool:
        """Tell whether it is a snapshot that lost its meaning."""
        return self.spec.broken if self.snapshot is None else self.snapshot.broken

    @property
    def mirrors(self) -> list[LiveMirror]:
        """List the mirrors that are in use."""
        return self.volume.mirrors if self.joined else []

    @property
    def clients(self) -> int:
        """Count who has it open."""
        return self.published.clients if self.published is not None else 0

    def replicas(self) -> list[LiveReplica]:
        """List all replicas of all mirrors, in use or just being connected."""
        return [replica for mirror in self.volume.mirrors for replica in mirror.replicas]

    def part(self) -> None:
        """Part from all replicas; none of them is looked for again."""
        self.joined = False
        for replica in self.replicas():
            replica.state = FAULTY
            replica.goodbye()

    def relocate(self, mirrorid: int, replica: ReplicaSpec) -> bool:
        """Look elsewhere from now on for a good replica, if none is in use; False if it is none."""
        known = None if self.joined else self.spec.find(mirrorid, replica.dextid)
        if known is None or known.state != INSYNC:
            return False
        self.spec = relocated(self.spec, {replica.dextid: replica})
        return True

    def state(self) -> DeviceState:
        """Tell of it."""
        held = self.snapshot.held * COW_CHUNK // MIB if self.snapshot is not None else 0
        waiting = max((mirror.outage.seconds for mirror in self.volume.mirrors), default=0)
        return DeviceState(self.lvolid, self.clients, held, self.broken, waiting)

    def figures(self) -> DeviceFigures:
        """Tell what its clients asked of it."""
        return DeviceFigures(self.lvolid, self.published.tally.figures() if self.published else ())

    def saved(self) -> SavedDevice:
        """Describe it so that it can be made again: what is not in use, as it was saved before."""
        if not self.joined:
            return replace(self.spec, broken=self.broken)
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

    def reports(self) -> Iterator[ReplicaReport]:
        """Report all replicas; while none is in use, the good ones as cut off from this head."""
        for mirror in self.mirrors:
            for live in mirror.replicas:
                yield replica_report(mirror.mirrorid, live, alive=True)
        for saved in () if self.joined else self.spec.mirrors:
            for one in saved.replicas:
                report = replica_report(saved.mirrorid, one, alive=False)
                good = report.state is ReplicaState.INSYNC
                yield replace(report, reason=Reason.CONNECTION) if good else report

    def distrusted(self, reports: tuple[ReplicaReport, ...]) -> tuple[ReplicaReport, ...]:
        """Report a broken snapshot's replicas as faulty: its store must never be trusted again."""
        return distrusted(self.saved(), reports) if self.broken else reports


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
