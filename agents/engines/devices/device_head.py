"""A head whose volumes are block devices: what stands between an engine's sockets and /dev/vas."""

import contextlib
import errno
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence

from agents.engines.base import DeviceFigures, EngineError, HeadEngine
from agents.engines.devices.block_device import BlockDevice, is_ours
from agents.engines.devices.device_identity import DeviceIdentity
from agents.engines.devices.devices import Devices
from agents.engines.devices.links import Links
from agents.engines.devices.reconnector import Reconnector
from agents.engines.userspace.process import memory
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    GroupState,
    ReplicaDigests,
    ReplicaReport,
    ReplicaSpec,
    VerifyOrder,
)

logger = logging.getLogger(__name__)


class DeviceHead:
    """HeadEngine that shows the volumes of another one as block devices.

    What is shown is read anew each time: the kernel keeps the devices and whose they are, the
    engine's processes link what they serve. `make_devices`: what is attached from now on becomes a
    device, else its names lead to its socket. What is attached stays what it is.
    """

    def __init__(
        self,
        engine: HeadEngine,
        devices: Devices,
        links: Links,
        reconnector: Reconnector,
        *,
        make_devices: bool,
    ) -> None:
        self._engine = engine
        self._devices = devices
        self._links = links
        self._reconnector = reconnector
        self._make_devices = make_devices
        self._changing: dict[int, threading.RLock] = {}

    def start(self) -> None:
        """Go on with the devices that are there; those of an epoch that is over are taken down."""
        memory.serve_writeback()  # a device may wait for this process to reconnect it
        self._engine.start()
        self._reconnector.start()
        epochs = {group.lvolid: group.epoch for group in self._engine.groups()}
        for device in self._devices.all():
            identity = device.identity
            if epochs.get(identity.group) != identity.epoch:
                logger.warning("%s is of an epoch that is over", device.name)
                self._drop(device)
            else:
                self._devices.adopt(device)
        self._reconnector.look_after(self._devices.all())
        self._remove_dead_links()

    def groups(self) -> list[GroupState]:
        """Tell every group; see that its devices are there and connected."""
        groups = self._engine.groups()
        self._look_after(groups)
        return groups

    def figures(self) -> list[DeviceFigures]:
        """Tell what was counted of devices when the groups were told last."""
        return self._engine.figures()

    def attach(self, order: AttachOrder) -> tuple[ReplicaReport, ...]:
        """Assemble a group and show its devices; the same epoch again changes nothing."""
        lvolid = order.lvolid
        volumes = [device.lvolid for device in order.devices]
        with self._alone(lvolid):
            group = self._find(lvolid)
            if group is None or group.epoch < order.epoch:
                for volume in volumes:
                    self._links.hide(self._links.socket(volume))
            older = self._hide_older(order, volumes)
            try:
                reports = self._engine.attach(order)
            finally:  # their process is dead now: before, to disconnect might wait for it
                for device in older:
                    self._devices.drop(device)
            self._show(lvolid, order.epoch, volumes)
            return reports

    def detach(self, lvolid: int) -> tuple[ReplicaReport, ...]:
        """Take a group down; EBUSY tells who uses a device of it."""
        with self._alone(lvolid), self._without_devices(lvolid, self._of(lvolid)):
            return self._engine.detach(lvolid)

    def cut(self, lvolid: int, epoch: int) -> None:
        """End a group at once; whoever has a device of it open gets EIO from now on."""
        self._engine.cut(lvolid, epoch)
        for device in self._of(lvolid):
            if device.identity.epoch <= epoch:
                self._drop(device)
        self._remove_dead_links()

    def snapshot(self, lvolid: int, device: DeviceSpec) -> None:
        """Freeze the origin's content as a new read-only device."""
        with self._alone(lvolid):
            self._engine.snapshot(lvolid, device)
            group = self._find(lvolid)
            if group is not None:
                self._show(lvolid, group.epoch, [device.lvolid])

    def unsnapshot(self, lvolid: int, snapshot: int) -> None:
        """Take a snapshot device away, and all links to it; EBUSY while it is open."""
        devices = [one for one in self._of(lvolid) if one.identity.lvolid == snapshot]
        with self._alone(lvolid), self._without_devices(lvolid, devices):
            self._engine.unsnapshot(lvolid, snapshot)

    def rebuild(self, lvolid: int, mirrorid: int, replica: ReplicaSpec, replaces: int) -> None:
        """Start to bring a replica into sync; its progress is in `groups`."""
        self._engine.rebuild(lvolid, mirrorid, replica, replaces)

    def relocate(self, lvolid: int, epoch: int, replicas: Sequence[ReplicaSpec]) -> None:
        """Tell a group that died where its replicas are now."""
        self._engine.relocate(lvolid, epoch, replicas)

    def cancel(self, lvolid: int, dextid: int) -> None:
        """Stop the rebuild of a replica."""
        self._engine.cancel(lvolid, dextid)

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Tell what a few blocks are on each replica in sync; mend them if the order says so."""
        return self._engine.verify(order)

    def revive(self, lvolid: int) -> None:
        """Start a group's process anew after it died; its devices go on."""
        self._engine.revive(lvolid)

    def stop(self) -> None:
        """End every group's process without detaching; the devices wait for their return."""
        self._engine.stop()

    # -- devices

    def _alone(self, lvolid: int) -> threading.RLock:
        return self._changing.setdefault(lvolid, threading.RLock())

    def _find(self, lvolid: int) -> GroupState | None:
        return next((one for one in self._engine.groups() if one.lvolid == lvolid), None)

    def _of(self, lvolid: int) -> list[BlockDevice]:
        return [device for device in self._devices.all() if device.identity.group == lvolid]

    def _show(self, lvolid: int, epoch: int, volumes: Iterable[int]) -> None:
        """Have the names of volumes lead to their devices; those that lead to sockets still do."""
        published = self._links.published()
        there = {device.identity.lvolid: device for device in self._of(lvolid)}
        for volume in volumes:
            labels, socket = published.get(volume, ()), self._links.socket(volume)
            if not labels or self._links.leads_to(labels[0]) == socket:
                continue
            if not self._make_devices and volume not in there:
                self._links.show(labels, socket)
                continue
            try:
                device = there.get(volume) or self._devices.make(
                    DeviceIdentity(epoch, lvolid, volume, labels[0], socket)
                )
                self._links.show(labels, str(device.node))
            except OSError as error:
                text = f"volume {volume} cannot be made a device: {error.strerror or error}"
                raise EngineError(error.errno or errno.EIO, text) from None

    @contextlib.contextmanager
    def _without_devices(self, lvolid: int, devices: Sequence[BlockDevice]) -> Iterator[None]:
        """Take devices down for what follows; if that fails they are shown again."""
        group = self._find(lvolid)
        try:
            for device in devices:
                if group is None or not group.alive:
                    self._devices.take_down_dead(device)
                else:
                    self._devices.take_down(device)
                self._links.hide(str(device.node))
            yield
        except EngineError:
            if group is not None and group.alive:
                self._show(lvolid, group.epoch, [one.identity.lvolid for one in devices])
            raise
        self._remove_dead_links()

    def _hide_older(self, order: AttachOrder, volumes: Sequence[int]) -> list[BlockDevice]:
        """Let no name lead to what is left of earlier epochs; gives these devices."""
        older = [
            device
            for device in self._devices.all()
            if device.identity.epoch < order.epoch
            and (device.identity.group == order.lvolid or device.identity.lvolid in volumes)
        ]
        for device in older:
            self._links.hide(str(device.node))
        return older

    def _drop(self, device: BlockDevice) -> None:
        self._links.hide(str(device.node))
        self._devices.drop(device)

    def _remove_dead_links(self) -> None:
        groups = self._engine.groups()
        self._links.remove_dead({device.lvolid for group in groups for device in group.devices})

    def _look_after(self, groups: Sequence[GroupState]) -> None:
        """Find devices that nobody is connected to, names without a device, and the other way."""
        targets = self._links.targets()  # first: what is made meanwhile is no device that is gone
        devices = self._devices.all()
        alive = [group for group in groups if group.alive]
        clients = {one.lvolid: one.clients for group in alive for one in group.devices}
        self._reconnector.look_after(
            device for device in devices if clients.get(device.identity.lvolid) == 0
        )
        for gone in targets.difference(str(device.node) for device in devices):
            if is_ours(gone):
                self._links.hide(gone)
        published = self._links.published()
        for group in alive:
            volumes = [one.lvolid for one in group.devices if one.lvolid in published]
            if hidden := [one for one in volumes if not self._links.leads_to(published[one][0])]:
                self._show_again(group, hidden)

    def _show_again(self, group: GroupState, volumes: Sequence[int]) -> None:
        """Show volumes whose device was given up, or whose names somebody removed.

        Not while an order is at work on the group: then that is not so by accident.
        """
        alone = self._alone(group.lvolid)
        if not alone.acquire(blocking=False):
            return
        try:
            self._show(group.lvolid, group.epoch, volumes)
        except EngineError as error:
            logger.warning("group %d: %s", group.lvolid, error)
        finally:
            alone.release()
