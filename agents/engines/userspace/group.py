"""An attached group: an origin and its snapshots, and the orders that concern them."""

import errno
import sys
import time
from functools import partial
from typing import Any

from agents.engines.userspace import nbd, publish, record
from agents.engines.userspace.assembly import Parts, reachable_legs
from agents.engines.userspace.intent import MirrorIntent, MissedChunks
from agents.engines.userspace.leg import FAULTY, INSYNC, IO, Leg
from agents.engines.userspace.marks import MIB
from agents.engines.userspace.mirror import Mirror, Surroundings
from agents.engines.userspace.reactor import Commits, Reactor, Work
from agents.engines.userspace.resync import Rebuilds, Throttle
from agents.engines.userspace.snapshot import Snapshot, Snapshots
from agents.engines.userspace.store import COW_CHUNK
from agents.engines.userspace.tasks import Fault, Later, Task
from agents.engines.userspace.volume import Volume

CLEAN_SECONDS = 3.0


class Group(Surroundings):
    """The first device is the origin, the others are its snapshots' stores."""

    def __init__(self, reactor: Reactor, arguments: dict[str, Any], kept: dict[str, Any]) -> None:
        self.epoch: int = kept["epoch"]
        self._reactor = reactor
        self._folder: str = arguments["folder"]
        self._run_dir: str = arguments["run_dir"]
        self._links_dir: str = arguments["links_dir"]
        self._kept = kept
        self._parts = Parts(reactor, self, arguments)
        self._saves = Commits(reactor, self._prepare_save)
        self._devices: list[dict[str, Any]] = []
        self._volumes: list[Volume] = []
        self._published: dict[int, publish.Published] = {}
        self._cleaning: set[Mirror] = set()
        self._timeout: float = arguments["leg_timeout"]
        throttle = Throttle(reactor, arguments["rebuild_mib_per_s"], self._client_requests)
        self._rebuilds = Rebuilds(throttle, self._parts.connect, self.save)
        self._snapshots: Snapshots | None = None

    # -- what the mirrors need

    def save(self) -> Later:
        """Put the state of all copies on disk."""
        saved = Later()
        self._saves.ask(saved)
        return saved

    def missed_chunks(self, dextid: int, intent: MirrorIntent) -> MissedChunks:
        """Open the map of what a copy lacks."""
        return MissedChunks(self._parts.missed_path(dextid), intent.chunks, intent.shift)

    def reconnect(self, mirror: Mirror, leg: Leg) -> None:
        """Try to reach the last good copy again, for as long as it takes."""
        self._parts.reconnect(mirror, leg)

    def log(self, text: str) -> None:
        """Write a line to the process's log."""
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    # -- assembly

    async def assemble(self) -> None:
        """Bring up all devices and publish them; the first failure undoes it."""
        try:
            for device in self._kept["devices"]:
                await self._add(device)
            await self.save()
            for device, volume in zip(self._devices, self._volumes, strict=True):
                self._publish(device, self._served(volume))
        except Fault:
            self._withdraw()
            raise
        self._reactor.every(min(0.5, self._timeout / 4), self._check_legs)
        self._reactor.every(CLEAN_SECONDS, self._clean_intents)
        self._clean_intents()

    async def _add(self, device: dict[str, Any]) -> None:
        publish.check_labels(device["labels"])
        volume = self._parts.make_volume(device)
        self._devices.append(device)
        self._volumes.append(volume)
        try:
            await self._parts.join(volume, device)
            if self._snapshots is None:
                self._snapshots = Snapshots(volume)
            else:
                await self._add_snapshot(volume, device)
        except Fault:
            self._remove(device, volume)
            raise

    async def _add_snapshot(self, store: Volume, device: dict[str, Any]) -> None:
        if self._snapshots is None:
            return
        broken = device.get("broken", False)
        snapshot = Snapshot(self._volumes[0], store, self.save, broken=broken)
        if not broken:
            await snapshot.open()
        await self._snapshots.add(snapshot)

    def _remove(self, device: dict[str, Any], volume: Volume) -> None:
        self._devices.remove(device)
        self._volumes.remove(volume)
        for leg in reachable_legs([volume]):
            leg.goodbye()

    def _served(self, volume: Volume) -> nbd.Device:
        snapshot = self._snapshot(volume.lvolid)
        return volume if snapshot is None else snapshot

    def _snapshot(self, lvolid: int) -> Snapshot | None:
        present = self._snapshots.present if self._snapshots is not None else []
        return next((one for one in present if one.lvolid == lvolid), None)

    def _publish(self, device: dict[str, Any], served: nbd.Device) -> None:
        lvolid = device["lvolid"]
        path = publish.socket_path(self._run_dir, lvolid)
        try:
            published = publish.Published(self._reactor, served, path, device["labels"])
            self._published[lvolid] = published
            published.link(self._links_dir)
        except OSError as error:
            raise Fault(error.errno or errno.EIO, f"{path}: {error.strerror}") from None

    def _withdraw(self) -> None:
        for published in self._published.values():
            published.withdraw(self._links_dir)
        self._published.clear()

    # -- orders

    async def perform(self, order: dict[str, Any]) -> Any:
        """Carry out one order of the agent."""
        match order["do"]:
            case "state":
                return self._state()
            case "copies":
                return record.copy_states(self._record(), alive=True)
            case "detach":
                return await self._detach(force=order["force"])
            case "snapshot":
                return await self._take_snapshot(order["device"])
            case "unsnapshot":
                return await self._drop_snapshot(order["snapshot"])
            case "rebuild":
                return await self._rebuild(order["mirrorid"], order["leg"], order["replaces"])
            case "cancel":
                return self._cancel(order["dextid"])
            case unknown:
                raise Fault(errno.EINVAL, f"no such order: {unknown}")

    def _state(self) -> dict[str, Any]:
        devices = []
        for lvolid, published in self._published.items():
            snapshot = self._snapshot(lvolid)
            held = snapshot.held * COW_CHUNK // MIB if snapshot is not None else 0
            broken = snapshot is not None and snapshot.broken
            devices.append(
                {"lvolid": lvolid, "clients": published.clients, "cow_mib": held, "broken": broken}
            )
        copies = record.copy_states(self._record(), alive=True)
        return {"epoch": self.epoch, "devices": devices, "copies": copies}

    async def _detach(self, *, force: bool) -> dict[str, Any]:
        for lvolid, published in self._published.items():
            if published.clients and not force:
                raise Fault(errno.EBUSY, f"volume {lvolid} is open by {published.clients} clients")
        self._withdraw()
        await self._rebuilds.stop()
        self._fail_unfinished()
        clean = [
            await closed
            for closed in [
                Task(self._close_mirror(mirror))
                for volume in self._volumes
                for mirror in volume.mirrors
            ]
        ]
        self._parts.stopped = True
        self._kept["ended"] = True
        await self.save()
        for leg in reachable_legs(self._volumes):
            leg.goodbye()
        self._reactor.soon.append(self._reactor.stop)
        return {"copies": self._last_copies(), "clean": all(clean)}

    def _fail_unfinished(self) -> None:
        for volume in self._volumes:
            for mirror in volume.mirrors:
                for leg in list(mirror.legs):
                    if leg.state in {"queued", "building"}:
                        self._rebuilds.cancel(mirror, leg)

    async def _close_mirror(self, mirror: Mirror) -> bool:
        """Let writes land, flush, and mark clean what is known to be equal."""
        await mirror.ranges.take(0, mirror.size)
        flushed = await mirror.close()
        await mirror.settled()
        if mirror.doubts or not flushed:
            return False
        return bool(await mirror.mark(clean=True)) and mirror.is_settled

    def _last_copies(self) -> list[dict[str, Any]]:
        """A broken snapshot's store must never be trusted again."""
        copies = record.copy_states(self._record(), alive=True)
        broken = {
            mirror.mirrorid
            for volume in self._volumes
            for mirror in volume.mirrors
            if getattr(self._snapshot(volume.lvolid), "broken", False)
        }
        for copy in copies:
            if copy["mirrorid"] in broken:
                copy.update(state=FAULTY, why=IO)
        return copies

    async def _take_snapshot(self, device: dict[str, Any]) -> None:
        if device["lvolid"] in self._published:
            return
        self._parts.revived = False
        await self._add(device)
        await self.save()
        self._publish(device, self._served(self._volumes[-1]))

    async def _drop_snapshot(self, lvolid: int) -> None:
        published = self._published.get(lvolid)
        if published is None:
            return
        place = next(n for n, volume in enumerate(self._volumes) if volume.lvolid == lvolid)
        snapshot = self._snapshot(lvolid)
        if place == 0 or snapshot is None or self._snapshots is None:
            raise Fault(errno.EINVAL, f"volume {lvolid} is no snapshot of this group")
        if published.clients:
            raise Fault(errno.EBUSY, f"snapshot {lvolid} is open by {published.clients} clients")
        published.withdraw(self._links_dir)
        del self._published[lvolid]
        await self._snapshots.remove(snapshot)
        volume = snapshot.store
        for mirror in volume.mirrors:
            for leg in list(mirror.legs):
                self._rebuilds.cancel(mirror, leg)
        self._remove(self._devices[place], volume)
        await self.save()
        self._parts.forget(volume)

    async def _rebuild(self, mirrorid: int, spec: dict[str, Any], replaces: int) -> None:
        mirror = self._find_mirror(mirrorid)
        leg = mirror.find(spec["dextid"])
        if leg is not None and leg.state in {INSYNC, "queued", "building"}:
            # In use already. The last good copy may have moved: that is where to look for it now.
            leg.addresses, leg.port, leg.export = spec["addresses"], spec["port"], spec["export"]
            return
        built = Leg({**spec, "state": FAULTY})
        built.replaces = replaces
        if leg is None:
            mirror.legs.append(built)
        else:
            built.missed = leg.missed
            mirror.legs[mirror.legs.index(leg)] = built
        if built.missed is None:
            built.missed = self.missed_chunks(built.dextid, mirror.intent)
            built.missed.add_all()
        mirror.refresh()
        self._rebuilds.build(mirror, built)
        mirror.refresh()
        await self.save()

    def _cancel(self, dextid: int) -> None:
        for volume in self._volumes:
            for mirror in volume.mirrors:
                leg = mirror.find(dextid)
                if leg is not None:
                    self._rebuilds.cancel(mirror, leg)

    def _find_mirror(self, mirrorid: int) -> Mirror:
        for volume in self._volumes:
            for mirror in volume.mirrors:
                if mirror.mirrorid == mirrorid:
                    return mirror
        raise Fault(errno.ENOENT, f"no mirror {mirrorid} in this group")

    # -- the record

    def _prepare_save(self) -> Work:
        return partial(record.write_record, self._folder, self._record())

    def _record(self) -> dict[str, Any]:
        volumes = {volume.lvolid: volume for volume in self._volumes}
        devices = []
        for device in self._devices:
            volume = volumes[device["lvolid"]]
            snapshot = self._snapshot(volume.lvolid)
            broken = snapshot.broken if snapshot is not None else device.get("broken", False)
            mirrors = [
                {
                    "mirrorid": mirror.mirrorid,
                    "size_gb": spec["size_gb"],
                    "events": mirror.events,
                    "doubt": bool(mirror.doubts),
                    "legs": [leg.spec() for leg in mirror.legs],
                }
                for mirror, spec in zip(volume.mirrors, device["mirrors"], strict=True)
            ]
            devices.append({**device, "broken": broken, "mirrors": mirrors})
        return {**self._kept, "devices": devices}

    # -- from time to time

    def _client_requests(self) -> int:
        return sum(volume.requests for volume in self._volumes[:1])

    def _check_legs(self) -> None:
        now = self._reactor.now
        for leg in reachable_legs(self._volumes):
            if leg.remote is not None:
                leg.remote.check(now)

    def _clean_intents(self) -> None:
        for volume in self._volumes:
            for mirror in volume.mirrors:
                if mirror.doubts and mirror.readers[0].is_reachable():
                    self._rebuilds.resolve(mirror)
                if mirror.intent.touched and mirror not in self._cleaning:
                    self._cleaning.add(mirror)
                    cleaning = Task(mirror.clean_intent())
                    cleaning.when_ended(partial(self._cleaning.discard, mirror))
