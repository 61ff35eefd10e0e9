"""One device of a group with all that belongs to it, and what is told of it."""

from typing import TYPE_CHECKING, Any

from agents.engines.userspace.mirror.replica import FAULTY, IO, Replica
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import protocol
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK
from agents.ondisk import MIB

if TYPE_CHECKING:
    from agents.engines.userspace.head.publish import Published
    from agents.engines.userspace.snapshot.snapshot import Snapshot


class Member:
    """The origin, or a snapshot with its store."""

    __slots__ = ("published", "snapshot", "spec", "volume")

    def __init__(self, spec: dict[str, Any], volume: Volume) -> None:
        self.spec = spec
        self.volume = volume
        self.snapshot: Snapshot | None = None
        self.published: Published | None = None

    @property
    def lvolid(self) -> int:
        """The volume's id."""
        return self.volume.lvolid

    @property
    def served(self) -> protocol.Device:
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

    def replicas(self) -> list[Replica]:
        """List all replicas of all mirrors."""
        return [replica for mirror in self.volume.mirrors for replica in mirror.replicas]

    def state(self) -> dict[str, Any]:
        """Tell of it as the protocol's DeviceState wants it."""
        held = self.snapshot.held * COW_CHUNK // MIB if self.snapshot is not None else 0
        return {
            "lvolid": self.lvolid,
            "clients": self.clients,
            "cow_mib": held,
            "broken": self.broken,
        }

    def record(self) -> dict[str, Any]:
        """Describe it so that it can be made again."""
        mirrors = [
            {
                "mirrorid": mirror.mirrorid,
                "size_gb": spec["size_gb"],
                "events": mirror.events,
                "doubt": bool(mirror.doubts),
                "legs": [replica.spec() for replica in mirror.replicas],
            }
            for mirror, spec in zip(self.volume.mirrors, self.spec["mirrors"], strict=True)
        ]
        return {**self.spec, "broken": self.broken, "mirrors": mirrors}

    def distrust(self, replicas: list[dict[str, Any]]) -> None:
        """Tell a broken snapshot's replicas as faulty: its store must never be trusted again."""
        mine = {mirror.mirrorid for mirror in self.volume.mirrors}
        for replica in replicas:
            if self.broken and replica["mirrorid"] in mine:
                replica.update(state=FAULTY, why=IO)
