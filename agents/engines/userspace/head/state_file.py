"""A group's state file, which outlives its process and its host: one JSON file, replaced whole.

The agent writes the first one, from the manager's order; the group's process all others. Members
of the file are named as they were in its first version.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from agents.engines.base import EngineError
from agents.engines.userspace.mirror.live_replica import (
    TO_BUILD,
    LiveReplica,
    LiveState,
)
from agents.errors import newer_file
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    MirrorSpec,
    Reason,
    ReplicaReport,
    ReplicaSpec,
    ReplicaState,
)
from agents.struct_codec import WIRE, Malformed, from_struct, to_struct

VERSION = 1
FILE = "group.json"
GROWTH_BYTES = 4096


@dataclass(slots=True)
class SavedReplica:
    """A replica: where it is and what has become of it.

    Nobody changes one, but it is not frozen: that would take ten times as long to make, and an
    attach makes some for each of hundreds of replicas.
    """

    dextid: int
    addresses: tuple[str, ...]
    port: int
    export: str
    state: LiveState
    reason: Reason = field(default=Reason.NONE, metadata={WIRE: "why"})
    events: int = 0
    done_mib: int = 0
    total_mib: int = 0


@dataclass(frozen=True, slots=True)
class SavedMirror:
    """A mirror. `dirty`: its replicas may differ."""

    mirrorid: int
    size_gb: int
    events: int
    dirty: bool = field(metadata={WIRE: "doubt"})
    replicas: tuple[SavedReplica, ...] = field(metadata={WIRE: "legs"})


@dataclass(frozen=True, slots=True)
class SavedDevice:
    """The origin or a snapshot. `broken`: a snapshot that lost its meaning."""

    lvolid: int
    labels: tuple[str, ...]
    capacity_gb: int
    mirrors: tuple[SavedMirror, ...]
    broken: bool = False

    @property
    def is_fresh(self) -> bool:
        """Tell whether no head ever used it: the first one raises the event counts."""
        return not any(mirror.events for mirror in self.mirrors)

    def find(self, mirrorid: int, dextid: int) -> SavedReplica | None:
        """Find a replica of one mirror."""
        return next(
            (
                replica
                for mirror in self.mirrors
                for replica in mirror.replicas
                if (mirror.mirrorid, replica.dextid) == (mirrorid, dextid)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class SavedGroup:
    """A group. `ended`: it was taken down, or its epoch is over."""

    lvolid: int
    epoch: int
    ended: bool
    devices: tuple[SavedDevice, ...]
    version: int = VERSION


def saved_group(order: AttachOrder, before: SavedGroup | None) -> SavedGroup:
    """Make the first state of a group that is to be attached.

    What broke here `before` is broken, be it that the manager has not heard of that.
    """
    broken = {device.lvolid for device in before.devices if device.broken} if before else set()
    devices = tuple(
        replace(saved_device(device), broken=device.lvolid in broken) for device in order.devices
    )
    return SavedGroup(order.lvolid, order.epoch, ended=False, devices=devices)


def saved_device(spec: DeviceSpec) -> SavedDevice:
    """Make the first state of a device."""
    mirrors = tuple(_saved_mirror(mirror) for mirror in spec.mirrors)
    return SavedDevice(spec.lvolid, spec.labels, spec.capacity_gb, mirrors)


def _saved_mirror(spec: MirrorSpec) -> SavedMirror:
    replicas = tuple(
        SavedReplica(one.dextid, one.addresses, one.port, one.export, LiveState(one.state))
        for one in spec.replicas
    )
    return SavedMirror(spec.mirrorid, spec.size_gb, spec.events, spec.dirty, replicas)


def relocated_group(group: SavedGroup, replicas: Iterable[ReplicaSpec]) -> SavedGroup:
    """Describe a group some replicas of which are found elsewhere from now on."""
    where = {spec.dextid: spec for spec in replicas}
    return replace(group, devices=tuple(relocated(device, where) for device in group.devices))


def relocated(device: SavedDevice, where: Mapping[int, ReplicaSpec]) -> SavedDevice:
    """Describe a device some replicas of which are found elsewhere from now on, by dextid."""
    mirrors = tuple(
        replace(mirror, replicas=tuple(_relocated(one, where) for one in mirror.replicas))
        for mirror in device.mirrors
    )
    return replace(device, mirrors=mirrors)


def _relocated(replica: SavedReplica, where: Mapping[int, ReplicaSpec]) -> SavedReplica:
    spec = where.get(replica.dextid)
    if spec is None:
        return replica
    return replace(replica, addresses=spec.addresses, port=spec.port, export=spec.export)


def read_state(folder: str) -> SavedGroup | None:
    """Read a group's state; None where there is none that is whole.

    EngineError where a newer engine wrote it: it must be neither misread nor overwritten.
    """
    path = f"{folder}/{FILE}"
    try:
        with open(path, encoding="utf-8") as file:
            struct = json.load(file)
    except (OSError, ValueError):
        return None
    version = struct.get("version") if isinstance(struct, dict) else None
    if type(version) is not int or version < 1:
        return None
    if version > VERSION:
        raise EngineError(errno.EPROTONOSUPPORT, newer_file(path, version, VERSION))
    try:
        return from_struct(SavedGroup, struct)
    except Malformed:
        return None


def write_state(folder: str, group: SavedGroup) -> None:
    """Replace a group's state, durably, and keep room for the next one: the disk may fill up."""
    path = f"{folder}/{FILE}"
    content = json.dumps(to_struct(group)).encode()
    with open(path + ".new", "wb", opener=_open_kept) as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError), open(path + ".new", "wb", opener=_open_kept) as file:
        os.posix_fallocate(file.fileno(), 0, len(content) + GROWTH_BYTES)


def _open_kept(path: str, flags: int) -> int:
    """Open without cutting off what is there: it is room that others would take."""
    return os.open(path, flags & ~os.O_TRUNC, 0o600)


def replica_report(
    mirrorid: int, replica: SavedReplica | LiveReplica, *, alive: bool
) -> ReplicaReport:
    """Report a replica; one that was being built is lost with the process."""
    state, reason = replica.state, replica.reason
    if state in TO_BUILD:
        state, reason = (LiveState.SPARE, reason) if alive else (LiveState.FAULTY, Reason.STALE)
    return ReplicaReport(
        replica.dextid,
        mirrorid,
        ReplicaState(state),
        replica.events,
        reason,
        replica.done_mib,
        replica.total_mib,
    )


def replica_reports(group: SavedGroup, *, alive: bool) -> tuple[ReplicaReport, ...]:
    """Report all replicas of a group, as they were saved."""
    return tuple(
        replica_report(mirror.mirrorid, replica, alive=alive)
        for device in group.devices
        for mirror in device.mirrors
        for replica in mirror.replicas
    )


def distrusted(
    device: SavedDevice, reports: tuple[ReplicaReport, ...]
) -> tuple[ReplicaReport, ...]:
    """Report a device's replicas as faulty, and all others as they are."""
    mine = {mirror.mirrorid for mirror in device.mirrors}
    return tuple(
        replace(report, state=ReplicaState.FAULTY, reason=Reason.IO)
        if report.mirrorid in mine
        else report
        for report in reports
    )
