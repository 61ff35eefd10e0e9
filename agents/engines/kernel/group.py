"""An attached group of the kernel engine: its sessions, mirrors, the device, and its names."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import device_mapper, hands_off, names, overview
from agents.engines.kernel.device_mapper import SECTOR, Piece
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.initiator import Initiator
from agents.engines.kernel.mirror import KernelMirror
from agents.engines.kernel.overview import Overview
from agents.engines.kernel.servers import Evicted, Servers
from agents.engines.userspace.head import published_device, state_file
from agents.engines.userspace.head.state_file import SavedGroup, SavedReplica
from agents.protocol import (
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
    """One volume, in one epoch. Whoever calls holds `changing`, but for `rebuild`."""

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
        (self._device,) = saved.devices
        self._mirrors = [
            KernelMirror((saved.lvolid, saved.epoch), mirror, self._folder, servers, self.save)
            for mirror in self._device.mirrors
        ]

    @property
    def _volume(self) -> str:
        return names.volume(self.lvolid, self.epoch)

    @property
    def is_alive(self) -> bool:
        """Tell whether the kernel has all of it."""
        return self._is_in(overview.take())

    def _is_in(self, seen: Overview) -> bool:
        arrays = (mirror.array.name for mirror in self._mirrors)
        return self._volume in seen.devices and all(name in seen.arrays for name in arrays)

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
        mirrors = tuple(mirror.saved() for mirror in self._mirrors)
        return replace(self._saved, devices=(replace(self._device, mirrors=mirrors),))

    def save(self) -> None:
        """Put its state on this head's disk."""
        state_file.write_state(str(self._folder), self.saved())

    def number(self, seen: Overview) -> int:
        """Tell the number of the device that users have; 0 where it is not there."""
        device = seen.devices.get(self._volume)
        return device.number if device else 0

    def state(self, seen: Overview) -> GroupState:
        """Tell the manager about it; one that is just being assembled or taken down lives."""
        alive = self._is_changing() or self._is_in(seen)
        device = device_mapper.find(self._volume)
        told = DeviceState(self.lvolid, device.opened if device else 0)
        return GroupState(self.lvolid, self.epoch, alive, (told,), self.reports(alive=alive))

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

    # -- the beginning and the end

    def start(self, *, revived: bool, rate: int) -> None:
        """Log in, assemble the mirrors, and publish the device; on failure nothing is left."""
        published_device.check_labels(self._device.labels)
        try:
            self._assemble(revived=revived, rate=rate)
            self.save()
            self._publish()
        except (EngineError, OSError):
            self.break_off()
            raise

    def take_down(self) -> tuple[tuple[ReplicaReport, ...], bool]:
        """Close it cleanly; EBUSY while it is in use. Its replicas, and whether all is well."""
        device = device_mapper.find(self._volume)
        self._await_unused()
        device_mapper.remove(self._volume)
        if device is not None:
            self._unlink(device.node)
        reports = self.reports()
        clean = self._close_all()
        self._initiator.log_out(self.lvolid, self.epoch)
        return reports, clean

    def break_off(self) -> None:
        """End it at once: whoever has the device open reads errors, and nothing is left of it."""
        device = device_mapper.find(self._volume)
        if device is not None:
            self._unlink(device.node)
        for mirror in self._mirrors:
            mirror.replicas.break_devices()
        if device is not None:
            self._break_volume()
        for mirror in self._mirrors:
            self._guarded(mirror.break_off)
        device_mapper.remove(self._volume, when_closed=True)
        self._guarded(lambda: self._initiator.log_out(self.lvolid, self.epoch))

    def _break_volume(self) -> None:
        """Answer all that waits with errors, and all that comes; md has to be told to go on."""
        sectors = sum(mirror.size for mirror in self._mirrors) // SECTOR
        device_mapper.load(self._volume, [Piece(sectors, "error")])
        with ThreadPoolExecutor(1) as pool:
            suspended = pool.submit(device_mapper.suspend, self._volume, flush=False)
            while not suspended.done():
                for mirror in self._mirrors:
                    mirror.go_on()
                wait([suspended], timeout=POLL_SECONDS)
            suspended.result()
        device_mapper.resume(self._volume)

    def _assemble(self, *, revived: bool, rate: int) -> None:
        good = [(mirror, one) for mirror in self._mirrors for one in mirror.replicas.good]
        self._log_in([one for _, one in good])
        self._servers.visit(one for _, one in good)
        wanted = [mirror.serial(one.dextid) for mirror, one in good]
        units = self._initiator.await_units(self.lvolid, self.epoch, wanted)
        for mirror in self._mirrors:
            mirror.connect(units)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda m: m.assemble(revived=revived, rate=rate), self._mirrors):
                pass
        hands_off.await_names()

    def _log_in(self, replicas: Iterable[SavedReplica | ReplicaSpec]) -> None:
        replicas = list(replicas)
        if replicas:
            secret = names.parse_export(replicas[0].export).secret
            addresses = {address for one in replicas for address in one.addresses}
            self._initiator.log_in(self.lvolid, self.epoch, secret, addresses)

    def _publish(self) -> None:
        pieces = [
            Piece(mirror.size // SECTOR, "linear", f"{mirror.array.words} 0")
            for mirror in self._mirrors
        ]
        made = device_mapper.create(self._volume, pieces)
        self._access.apply(Path(made.node))
        self._links_dir.mkdir(parents=True, exist_ok=True)
        for label in self._device.labels:
            published_device.make_link(str(self._links_dir / label), made.node)

    def _await_unused(self) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        while (device := device_mapper.find(self._volume)) is not None and device.opened:
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

    def _unlink(self, node: str) -> None:
        published_device.remove_all_links(str(self._links_dir), node)

    # -- what happens meanwhile

    def wants_look(self, seen: Overview, *, at_leisure: bool) -> bool:
        """Tell whether to look after one of the mirrors."""
        return self._is_in(seen) and any(
            mirror.wants_look(seen, at_leisure=at_leisure) for mirror in self._mirrors
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
        for mirror, told in zip(self._mirrors, moved.devices[0].mirrors, strict=True):
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
