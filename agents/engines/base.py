"""What a node's daemon asks of an engine; `userspace` is the embedded one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.errors import AgentError
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    GroupState,
    ReplicaDigests,
    ReplicaReport,
    ReplicaSpec,
    VerifyOrder,
)


class EngineError(AgentError):
    """The engine could not do it."""


@dataclass(frozen=True, slots=True)
class DeviceAccess:
    """Who may open a volume on its head; -1, or a mode of 0, leaves things as they are."""

    uid: int = -1
    gid: int = -1
    mode: int = 0

    def apply(self, path: Path) -> None:
        """Let them open what is there."""
        if (self.uid, self.gid) != (-1, -1):
            os.chown(path, self.uid, self.gid)
        if self.mode:
            path.chmod(self.mode)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one epoch of one group to one extent: a range of a disk and its metadata block.

    Served under `name` as one device of `size` + MARK_BYTES bytes: the range at `offset` of `path`,
    then the block at `meta_offset`.
    """

    name: str
    path: str
    offset: int
    size: int
    meta_offset: int
    dextid: int
    lvolid: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseUse:
    """A lease that is served and how many connections use it."""

    lease: Lease
    clients: int


DURATIONS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
"""Seconds, by which requests are counted: each in the first of these that it does not exceed."""


@dataclass(frozen=True, slots=True)
class OperationFigures:
    """The requests of one kind since a process was started.

    Some of them are timed: `seconds` is their sum, `counts` how many took at most as long as each
    of `bounds`, and at its end how many took longer than all.
    """

    operation: str
    requests: int
    bytes: int
    errors: int
    seconds: float
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """What clients asked of a device of a head."""

    lvolid: int
    operations: tuple[OperationFigures, ...]


@dataclass(frozen=True, slots=True)
class DiskFigures:
    """What heads and pulls asked of a storage server's disk, over the network."""

    path: str
    operations: tuple[OperationFigures, ...]


@dataclass(frozen=True, slots=True)
class DataServerFigures:
    """What a data server counted since it was started, and who is connected now."""

    connections: int = 0
    disks: tuple[DiskFigures, ...] = ()


class StorageEngine(Protocol):
    """Serves leases over the network from one process that outlives the agent."""

    port: int

    def ensure_running(self) -> str:
        """Find the data server or start one; its instance id, new for each process."""

    def leases(self) -> list[LeaseUse]:
        """Tell what is served right now; EngineError when the data server does not answer."""

    def figures(self) -> DataServerFigures | None:
        """Tell what the data server counted; None where it is older than this question."""

    def export(self, leases: Sequence[Lease]) -> None:
        """Serve these too; a lease that is served already stays as it is."""

    def drop(self, names: Sequence[str]) -> None:
        """Serve these no more. On return no connection is left and no write is in flight."""

    def stop(self) -> None:
        """End the data server."""


class HeadEngine(Protocol):
    """Runs attached groups, each in a process of its own that outlives the agent."""

    def start(self) -> None:
        """Go on with what is attached, and look after it from now on."""

    def groups(self) -> list[GroupState]:
        """Tell every group that runs, or that ran and was not detached."""

    def figures(self) -> list[DeviceFigures]:
        """Tell what was counted of devices when the groups were told last.

        Processes that are older than this count nothing.
        """

    def attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        """Assemble a group and publish its devices; the same epoch again changes nothing."""

    def detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        """Take a group down and close its replicas cleanly; EngineError EBUSY while in use.

        A group that is not there is down already. One whose process died is cleared away, its
        replicas left unclean. Of both only those of broken snapshots are told, as faulty.
        """

    def cut(self, lvolid: int, epoch: int) -> None:
        """End a group at once: its process, whoever is connected, sockets and links.

        One of a newer epoch stays.
        """

    def snapshot(self, lvolid: int, device: DeviceSpec) -> None:
        """Freeze the origin's content as a new read-only device."""

    def unsnapshot(self, lvolid: int, snapshot: int) -> None:
        """Take a snapshot device away, and all links to it; EBUSY while it is open."""

    def rebuild(self, lvolid: int, mirrorid: int, replica: ReplicaSpec, replaces: int) -> None:
        """Start to bring a replica into sync; its progress is in `groups`."""

    def relocate(self, lvolid: int, epoch: int, replicas: Sequence[ReplicaSpec]) -> None:
        """Note where a dead group's replicas are now, for its revival; one that runs knows."""

    def cancel(self, lvolid: int, dextid: int) -> None:
        """Stop the rebuild of a replica."""

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Tell what a few blocks are on each replica in sync, and mend them if the order says so.

        No write to them is in flight. EAGAIN where that cannot be told now, ENOSYS where the
        group's process is older than this order.
        """

    def revive(self, lvolid: int) -> None:
        """Start a group's process anew after it died; what its clients had open is cut off."""

    def stop(self) -> None:
        """End every group's process without detaching; `revive` brings each back."""
