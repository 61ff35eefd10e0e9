"""An attached group of the kernel engine: its sessions, mirrors, the device, and its names."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import device_mapper, hands_off, iscsi_names, kernel_state
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.initiator import Initiator
from agents.engines.kernel.kernel_snapshot import KernelSnapshot
from agents.engines.kernel.kernel_state import Overview
from agents.engines.kernel.laps import Laps
from agents.engines.kernel.meanwhile import meanwhile
from agents.engines.kernel.mirror import KernelMirror
from agents.engines.kernel.probes import Evicted, Servers
from agents.engines.kernel.sessions import Sessions
from agents.engines.kernel.volume_device import VolumeDevice, cut_off
from agents.engines.userspace.head import published_device, state_file
from agents.engines.userspace.head.state_file import SavedDevice, SavedGroup, SavedReplica
from agents.protocol import (
    DeviceSpec,
    DeviceState,
    GroupState,
    ReplicaDigests,
    ReplicaReport,
    ReplicaSpec,
    VerifyOrder,
)

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""So many mirrors are assembled beside each other: each waits for the network."""
CLOSE_SECONDS = 3.0
"""For which a device is waited for that is merely being looked at, as udev does."""
POLL_SECONDS = 0.1
EVICTED = "evicted"


class KernelGroup:
    """One volume and its snapshots, in one epoch.

    Whoever calls holds `changing`, but for `rebuild` and `take_snapshot`.
    """

    def __init__(
        self,
        saved: SavedGroup,
        place: HeadPlace,
        initiator: Initiator,
        servers: Servers,
    ) -> None:
        self.changing = threading.RLock()
        self.lvolid = saved.lvolid
        self.epoch = saved.epoch
        self._saved = saved
        self._folder = place.of(saved.lvolid)
        self._initiator = initiator
        self._servers = servers
        self._links_dir = place.links
        self._access = place.access
        origin, *snapshots = saved.devices
        self._labels = origin.labels
        self._origin = self._make_mirrors(origin)
        self._volume = VolumeDevice(saved.lvolid, saved.epoch, self._origin)
        self._snapshots = [self._make_snapshot(one) for one in snapshots]

    def _make_mirrors(self, device: SavedDevice) -> list[KernelMirror]:
        group = self.lvolid, self.epoch
        return [
            KernelMirror(group, mirror, self._folder, self._servers, self.save)
            for mirror in device.mirrors
        ]

    def _make_snapshot(self, device: SavedDevice, *, arriving: bool = False) -> KernelSnapshot:
        mirrors = self._make_mirrors(device)
        return KernelSnapshot(device, self.epoch, mirrors, arriving=arriving)

    @property
    def _mirrors(self) -> list[KernelMirror]:
        """All mirrors that are looked after: the origin's, and those of snapshots in use."""
        kept = [mirror for one in self._snapshots if one.is_used for mirror in one.mirrors]
        return self._origin + kept

    @property
    def is_alive(self) -> bool:
        """Tell whether the kernel has all of it."""
        return self._is_in(kernel_state.take())

    def _is_in(self, seen: Overview) -> bool:
        arrays = (mirror.array.name for mirror in self._mirrors)
        return (
            self._volume.name in seen.devices
            and all(name in seen.arrays for name in arrays)
            and all(one.is_in(seen) for one in self._snapshots)
        )

    @property
    def evicted(self) -> bool:
        """Tell whether a server serves it no more: only an order in this epoch brings it back.

        That is told by a file, for the next agent has to know.
        """
        return (self._folder / EVICTED).exists()

    @evicted.setter
    def evicted(self, so: bool) -> None:
        if so:
            (self._folder / EVICTED).touch()
        else:
            (self._folder / EVICTED).unlink(missing_ok=True)

    def saved(self) -> SavedGroup:
        """Tell its state as it is kept."""
        mirrors = tuple(mirror.saved() for mirror in self._origin)
        origin = replace(self._saved.devices[0], mirrors=mirrors)
        return replace(self._saved, devices=(origin, *(one.saved() for one in self._snapshots)))

    def save(self) -> None:
        """Put its state on this head's disk."""
        state_file.write_state(str(self._folder), self.saved())

    def numbers(self, seen: Overview) -> Iterator[tuple[int, int]]:
        """Tell of each device that users have whose it is, and its number."""
        for lvolid, name in self._published():
            if (device := seen.devices.get(name)) is not None:
                yield lvolid, device.number

    def _published(self) -> list[tuple[int, str]]:
        snapshots = [(one.lvolid, one.name) for one in self._snapshots]
        return [(self.lvolid, self._volume.name), *snapshots]

    def state(self, seen: Overview) -> GroupState:
        """Tell the manager about it; one that is just being assembled or taken down lives."""
        alive = self._is_changing() or self._is_in(seen)
        device = device_mapper.find(self._volume.name)
        origin = DeviceState(self.lvolid, device.opened if device else 0)
        told = (origin, *(one.state() for one in self._snapshots if not one.arriving))
        return GroupState(self.lvolid, self.epoch, alive, told, self.reports(alive=alive))

    def _is_changing(self) -> bool:
        if self.changing.acquire(blocking=False):
            self.changing.release()
            return False
        return True

    def reports(self, *, alive: bool = True) -> tuple[ReplicaReport, ...]:
        """Tell all replicas."""
        return tuple(
            state_file.replica_report(mirror.mirrorid, one, alive=alive)
            for mirror in self._mirrors
            for one in mirror.replicas_now()
        )

    def distrusted(self) -> tuple[ReplicaReport, ...]:
        """Report the replicas of broken snapshots: their stores must never be trusted again."""
        broken = tuple(one.saved() for one in self._snapshots if one.broken)
        reports = state_file.replica_reports(replace(self._saved, devices=broken), alive=False)
        for device in broken:
            reports = state_file.distrusted(device, reports)
        return reports

    # -- the beginning and the end

    def start(self, *, revived: bool, rate: int) -> None:
        """Log in, assemble the mirrors, and publish devices; on failure nothing is left."""
        for labels in (self._labels, *(one.labels for one in self._snapshots)):
            published_device.check_labels(labels)
        try:
            self._assemble(self._mirrors, revived=revived, rate=rate)
            self._lay_snapshots()
            self.save()
            self._publish(self._volume.make().node, self._labels)
        except (EngineError, OSError):
            self.break_off()
            raise

    def take_down(self) -> tuple[tuple[ReplicaReport, ...], bool]:
        """Close it cleanly; EBUSY while it is in use. Its replicas, and whether all is well."""
        published = [name for _, name in self._published()]
        for name in published:
            self._await_unused(name)
        for name in published:
            self._unlink(name)
            device_mapper.remove(name)
        for one in self._snapshots:
            one.remove()
        self._volume.remove_origin()
        reports = self.reports() + self.distrusted()
        clean = self._close_all()
        self._initiator.log_out(self.lvolid, self.epoch)
        return reports, clean

    def break_off(self) -> None:
        """End it at once: whoever has the device open reads errors, and nothing is left of it."""
        published = [name for _, name in self._published()]
        for name in published:
            self._unlink(name)
        mirrors = self._mirrors
        for mirror in mirrors:  # the origin's first: what a snapshot cannot keep is not overwritten
            mirror.replicas.break_devices()
        for name in published:
            cut_off(name, self._volume.sectors, mirrors)
        for one in self._snapshots:
            self._guarded(partial(one.break_off, self._volume.sectors))
        self._guarded(self._volume.remove_origin)
        for mirror in mirrors:
            self._guarded(mirror.break_off)
        for name in published:
            device_mapper.remove(name, when_closed=True)
        self._guarded(lambda: self._initiator.log_out(self.lvolid, self.epoch))

    def _assemble(self, mirrors: Sequence[KernelMirror], *, revived: bool, rate: int) -> None:
        laps = Laps()
        good = [(mirror, one) for mirror in mirrors for one in mirror.replicas.good]
        self._log_in([one for _, one in good])
        laps.done("sessions")
        self._servers.visit(one for _, one in good)
        laps.done("servers")
        wanted = [mirror.serial(one.dextid) for mirror, one in good]
        units = self._initiator.await_units(self.lvolid, self.epoch, wanted)
        laps.done("disks")
        for mirror in mirrors:
            mirror.connect(units)
        laps.done("replicas")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda m: m.assemble(revived=revived, rate=rate), mirrors):
                pass
        laps.done("arrays")
        hands_off.await_names()
        laps.done("names")
        logger.info("group %d: %s", self.lvolid, laps)

    def _log_in(self, replicas: Iterable[SavedReplica | ReplicaSpec]) -> None:
        replicas = list(replicas)
        if replicas:
            secret = iscsi_names.parse_export(replicas[0].export).secret
            addresses = {address for one in replicas for address in one.addresses}
            self._initiator.log_in(self.lvolid, self.epoch, secret, addresses)

    def _lay_snapshots(self) -> None:
        """Have snapshots there before their origin can be written."""
        for one in [one for one in self._snapshots if one.is_used]:
            self._lay(one)
            if one.broken:
                one.break_off(self._volume.sectors)
            else:
                one.begin()
                self._show(one)

    def _lay(self, one: KernelSnapshot) -> None:
        one.lay(self._volume.lay_origin(), self._volume.sectors)

    def _show(self, one: KernelSnapshot) -> None:
        if (device := device_mapper.find(one.name)) is not None:
            self._publish(device.node, one.labels)

    def _publish(self, node: str, labels: Sequence[str]) -> None:
        self._access.apply(Path(node))
        self._links_dir.mkdir(parents=True, exist_ok=True)
        for label in labels:
            published_device.make_link(str(self._links_dir / label), node)

    def _await_unused(self, name: str) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        while (device := device_mapper.find(name)) is not None and device.opened:
            if time.monotonic() > deadline:
                raise EngineError(errno.EBUSY, f"{device.node} of group {self.lvolid} is in use")
            time.sleep(POLL_SECONDS)

    def _close_all(self) -> bool:
        """Close each mirror, whatever became of the others."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return all(list(pool.map(self._close, self._mirrors)))

    def _close(self, mirror: KernelMirror) -> bool:
        try:
            return mirror.close()
        except EngineError as error:
            logger.warning("group %d: not closed cleanly: %s", self.lvolid, error)
            self._guarded(mirror.break_off)
            return False

    def _unlink(self, name: str) -> None:
        if (device := device_mapper.find(name)) is not None:
            published_device.remove_all_links(str(self._links_dir), device.node)

    # -- snapshots

    def take_snapshot(self, spec: DeviceSpec, rate: int) -> None:
        """Freeze what the volume has now as a new device; on failure nothing is left of it.

        Meanwhile the volume is looked after: to log in to servers may take its time, and to have
        no write in flight may take that a replica is left behind.
        """
        published_device.check_labels(spec.labels)
        one = self._make_snapshot(state_file.saved_device(spec), arriving=True)
        with self.changing:
            if self._is_taken(one.lvolid):
                return
            self._snapshots = [*self._snapshots, one]
            self.save()
        try:
            self._assemble(one.mirrors, revived=False, rate=rate)
            with self.changing:
                self._take(one)
        except (EngineError, OSError):
            with self.changing:
                self._drop(one)
            raise

    def _is_taken(self, lvolid: int) -> bool:
        """Tell whether a snapshot is there; one that an agent left half taken is no good."""
        known = self._snapshot(lvolid)
        if known is None:
            return False
        if known.broken:
            self._drop(known)
            raise EngineError(errno.EIO, f"snapshot {lvolid} was begun, and not finished")
        return True

    def _take(self, one: KernelSnapshot) -> None:
        def begin() -> None:
            self._lay(one)
            if not one.broken:
                self._volume.at_an_instant(one.begin)

        sessions, one.is_joined = Sessions(), True
        meanwhile(begin, lambda: self.look(kernel_state.take_all(sessions), at_leisure=True))
        if one.broken or not self.is_alive:
            raise EngineError(errno.EIO, f"snapshot {one.lvolid} could not be made")
        one.arriving = False
        self.save()
        self._show(one)

    def _snapshot(self, lvolid: int) -> KernelSnapshot | None:
        return next((one for one in self._snapshots if one.lvolid == lvolid), None)

    def drop_snapshot(self, lvolid: int) -> None:
        """Take a snapshot away; EBUSY while it is open."""
        if (one := self._snapshot(lvolid)) is not None:
            self._await_unused(one.name)
            self._drop(one)

    def _drop(self, one: KernelSnapshot) -> None:
        """Be without a snapshot. From here on it keeps nothing, which is noted first."""
        one.broken, one.arriving = True, False
        self.save()
        self._unlink(one.name)
        one.break_off(self._volume.sectors)
        device_mapper.remove(one.name)
        self._snapshots = [other for other in self._snapshots if other is not one]
        self.save()

    def _look_at_snapshots(self, seen: Overview) -> None:
        waits = any(mirror.is_lost for mirror in self._origin)
        for one in self._snapshots:
            one.go_on()
            if one.is_over(seen, origin_waits=waits):
                self._guarded(partial(self._break, one))

    def _break(self, one: KernelSnapshot) -> None:
        """Have a snapshot's end on disk before its origin is written without it."""
        one.broken = True
        try:
            self.save()
        except OSError:
            one.broken = False
            raise
        logger.warning("group %d: snapshot %d is broken", self.lvolid, one.lvolid)
        one.let_go()

    # -- what happens meanwhile

    def wants_look(self, seen: Overview, *, at_leisure: bool) -> bool:
        """Tell whether to look after one of the mirrors."""
        return self._is_in(seen) and (
            any(mirror.wants_look(seen, at_leisure=at_leisure) for mirror in self._mirrors)
            or any(one.wants_look(seen) for one in self._snapshots)
        )

    def flushes(self, seen: Overview) -> Iterator[Callable[[], None]]:
        """Tell what is to be brought to stable storage now."""
        for mirror in self._mirrors:
            if flush := mirror.flush_soon(seen):
                yield flush

    def look(self, seen: Overview, *, at_leisure: bool) -> None:
        """Look after each mirror that wants it, given what was seen before.

        Where one was evicted the group ends here: whoever uses it reads errors, until the manager
        gives an order in this epoch.
        """
        if not self.is_alive:
            return
        try:
            for mirror in self._mirrors:
                if mirror.wants_look(seen, at_leisure=at_leisure):
                    self._look(mirror, seen)
            self._look_at_snapshots(seen)
        except Evicted as error:
            logger.warning("group %d ends: %s", self.lvolid, error)
            self.evicted = True
            self.break_off()

    def _look(self, mirror: KernelMirror, seen: Overview) -> None:
        try:
            mirror.look_again(seen)
        except Evicted:
            raise
        except (EngineError, OSError) as error:
            logger.warning("group %d: %s", self.lvolid, error)

    def rebuild(self, mirrorid: int, spec: ReplicaSpec, replaces: int) -> None:
        """Begin to build a replica.

        Meanwhile the others are looked after: to log in to a server may take its time.
        """
        mirror = self._find(mirrorid)
        self._log_in([spec])
        wanted = [mirror.serial(spec.dextid)]
        units = self._initiator.await_units(self.lvolid, self.epoch, wanted)
        with self.changing:
            mirror.build(spec, replaces, units)
        hands_off.await_names()

    def cancel(self, dextid: int) -> None:
        """Stop building a replica."""
        for mirror in self._mirrors:
            mirror.cancel(dextid)

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Compare blocks of a mirror's replicas, and mend them if the order says so."""
        return self._find(order.mirrorid).verify(order)

    def relocate(self, replicas: Sequence[ReplicaSpec]) -> None:
        """Note where replicas are now; an order in this epoch says that it is not over."""
        self.evicted = False
        moved = state_file.relocated_group(self.saved(), replicas)
        all_mirrors = [*self._origin, *(m for one in self._snapshots for m in one.mirrors)]
        told_mirrors = [told for device in moved.devices for told in device.mirrors]
        for mirror, told in zip(all_mirrors, told_mirrors, strict=True):
            mirror.replicas.all = {one.dextid: one for one in told.replicas}
        self.save()

    def _find(self, mirrorid: int) -> KernelMirror:
        for mirror in self._mirrors:
            if mirror.mirrorid == mirrorid:
                return mirror
        raise EngineError(errno.ENOENT, f"group {self.lvolid} has no mirror {mirrorid}")

    @property
    def used(self) -> list[SavedReplica]:
        """All replicas that are written."""
        return [one for mirror in self._mirrors for one in mirror.replicas.used]

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (EngineError, OSError) as error:
            logger.warning("group %d: %s", self.lvolid, error)
