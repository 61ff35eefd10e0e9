"""A head whose volumes are made by its kernel: iSCSI, multipath, md and the device mapper."""

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

from agents.engines.base import DeviceFigures, EngineError
from agents.engines.kernel import disk_counts, kernel_state
from agents.engines.kernel.attached_groups import AttachedGroups
from agents.engines.kernel.group import KernelGroup
from agents.engines.kernel.head_place import FOLDER, HeadPlace
from agents.engines.kernel.standby import Standby
from agents.engines.userspace.head import state_file
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    GroupState,
    ReplicaDigests,
    ReplicaReport,
    ReplicaSpec,
    VerifyOrder,
)


def kernel_groups(state_dir: Path) -> list[int]:
    """Tell which groups were attached by this engine, and not detached since."""
    return [int(folder.name, 16) for folder in sorted((state_dir / FOLDER).glob("*"))]


class KernelHead:
    """HeadEngine of the kernel engine: what it made lives in the kernel and outlives the agent.

    One process at a time looks after it: the agent, or its standby while there is no agent.
    """

    def __init__(self, place: HeadPlace, rebuild_mib_per_s: int = 0) -> None:
        self._rate = rebuild_mib_per_s
        self._place = place
        self._standby = Standby(place)
        self._standby.take_over()
        self._groups = AttachedGroups(place)

    def start(self) -> None:
        """Look after what is attached, from now on; have another process ready to do so."""
        self._groups.watch()
        self._standby.start()

    def groups(self) -> list[GroupState]:
        """Tell every group that runs, or that ran and was not detached."""
        seen = kernel_state.take()
        return [group.state(seen) for group in self._groups]

    def figures(self) -> list[DeviceFigures]:
        """Tell what the kernel counted of each volume since it was attached."""
        seen = kernel_state.take()
        there = [one for group in self._groups for one in group.numbers(seen)]
        return list(disk_counts.figures(kernel_state.COUNTS.read_text(), there))

    def attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        """Assemble a group and publish its device; the same epoch again changes nothing."""
        known = self._groups.find(order.lvolid)
        if known is None or known.epoch < order.epoch:
            return self._attach(order, known)
        if known.epoch > order.epoch:
            raise EngineError(errno.ESTALE, f"group {order.lvolid} is at epoch {known.epoch}")
        known.evicted = False
        self.revive(order.lvolid)
        return known.reports()

    def _attach(self, order: AttachOrder, known: KernelGroup | None) -> tuple[ReplicaReport, ...]:
        before = known.saved() if known is not None else None
        if known is not None:
            self._end(known)
        folder = self._place.of(order.lvolid)
        folder.mkdir(mode=0o700, exist_ok=True)
        saved = state_file.saved_group(order, before)
        state_file.write_state(str(folder), saved)
        group = self._groups.make(saved)
        with group.changing:
            self._groups.put(group)
            try:
                group.start(revived=False, rate=self._rate)
            except (EngineError, OSError):
                self._forget(group)
                raise
        return group.reports()

    def detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        """Take a group down and close its replicas cleanly; EBUSY while it is in use."""
        group = self._groups.find(lvolid)
        if group is None:
            return ()
        with group.changing:
            if self._groups.find(lvolid) is not group or not group.is_alive:
                self._end(group)
                return group.distrusted()
            reports, _ = group.take_down()
            self._forget(group)
        return reports

    def cut(self, lvolid: int, epoch: int) -> None:
        """End a group at once; one of a newer epoch stays."""
        group = self._groups.find(lvolid)
        if group is not None and group.epoch <= epoch:
            self._end(group)

    def snapshot(self, lvolid: int, device: DeviceSpec) -> None:
        """Freeze the origin's content as a new read-only device."""
        self._running(lvolid).take_snapshot(device, self._rate)

    def unsnapshot(self, lvolid: int, snapshot: int) -> None:
        """Take a snapshot device away, and all links to it; EBUSY while it is open."""
        group = self._running(lvolid)
        with group.changing:
            group.drop_snapshot(snapshot)

    def rebuild(self, lvolid: int, mirrorid: int, replica: ReplicaSpec, replaces: int) -> None:
        """Start to bring a replica into sync; its progress is in `groups`."""
        self._running(lvolid).rebuild(mirrorid, replica, replaces)

    def relocate(self, lvolid: int, epoch: int, replicas: Sequence[ReplicaSpec]) -> None:
        """Note where a dead group's replicas are now, for its revival; one that runs knows."""
        group = self._groups.find(lvolid)
        if group is None or group.epoch != epoch:
            raise EngineError(errno.ENOENT, f"no group {lvolid} of epoch {epoch} was attached here")
        with group.changing:
            if not group.is_alive:
                group.relocate(replicas)

    def cancel(self, lvolid: int, dextid: int) -> None:
        """Stop the rebuild of a replica."""
        group = self._running(lvolid)
        with group.changing:
            group.cancel(dextid)

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Tell what a few blocks are on each replica in sync; mend them if the order says so."""
        group = self._running(order.lvolid)
        with group.changing:
            return group.verify(order)

    def revive(self, lvolid: int) -> None:
        """Assemble a group anew whose devices are gone, in the same epoch."""
        group = self._groups.find(lvolid)
        if group is None:
            raise EngineError(errno.ENOENT, f"no group {lvolid} was attached here")
        if group.evicted:
            raise EngineError(errno.ESTALE, f"group {lvolid} was evicted from its storage servers")
        with group.changing:
            # Meanwhile it may have been taken down, and its epoch be over.
            if self._groups.find(lvolid) is group and not group.is_alive:
                group.break_off()
                group.start(revived=True, rate=self._rate)

    def stop(self) -> None:
        """End every group without detaching; `revive` brings each back."""
        for group in self._groups:
            with group.changing:
                group.break_off()

    def _running(self, lvolid: int) -> KernelGroup:
        group = self._groups.find(lvolid)
        if group is None or not group.is_alive:
            raise EngineError(errno.ENOENT, f"group {lvolid} does not run here")
        return group

    def _end(self, group: KernelGroup) -> None:
        """Clear away a group whose devices are gone, or whose epoch is over."""
        with group.changing:
            if self._groups.find(group.lvolid) is group:
                group.break_off()
                self._forget(group)

    def _forget(self, group: KernelGroup) -> None:
        self._groups.drop(group)
        shutil.rmtree(self._place.of(group.lvolid), ignore_errors=True)
