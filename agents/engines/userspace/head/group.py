"""An attached group: an origin and its snapshots, and the orders that concern them."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agents.engines.base import EngineError
from agents.engines.userspace.head import published_device, state_file
from agents.engines.userspace.head.assembly import Assembly
from agents.engines.userspace.head.group_device import GroupDevice
from agents.engines.userspace.head.snapshot_stores import SnapshotStores
from agents.engines.userspace.head.state_file import SavedDevice, SavedGroup
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.loop.reactor import Commits, Reactor, Work
from agents.engines.userspace.mirror.copy_throttle import CopyThrottle
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import (
    BUILDING,
    FAULTY,
    INSYNC,
    QUEUED,
    TO_BUILD,
    LiveReplica,
)
from agents.engines.userspace.mirror.missed_chunks import MissedChunks
from agents.engines.userspace.mirror.resync_queue import ResyncQueue
from agents.engines.userspace.mirror.verification import verify
from agents.engines.userspace.mirror.write_intent import DirtyRegions
from agents.engines.userspace.process import dialogue
from agents.engines.userspace.snapshot.copy_before_write import Snapshots
from agents.protocol import ReplicaReport, ReplicaSpec, VerifyReply

CLEAN_SECONDS = 3.0


class Group:
    """The first device is the origin, the others are its snapshots."""

    def __init__(
        self, reactor: Reactor, arguments: dialogue.HeadArguments, saved: SavedGroup
    ) -> None:
        self.epoch = saved.epoch
        self._reactor = reactor
        self._folder = arguments.folder
        self._run_dir = arguments.run_dir
        self._links_dir = arguments.links_dir
        self._access = arguments.access
        self._timeout = self.timeout = arguments.replica_timeout
        self._storage_wait = arguments.storage_wait
        self._assembled = False
        self._saved = saved
        self._assembly = Assembly(reactor, self, arguments)
        self._saves = Commits(reactor, self._prepare_save)
        self._devices = [GroupDevice(spec) for spec in saved.devices]
        self._snapshots = Snapshots(self._devices[0].volume)
        self._revived = arguments.revive
        self._stores = SnapshotStores(reactor, self, self._assembly, arguments)
        self._cleaning: set[LiveMirror] = set()
        throttle = CopyThrottle(reactor, arguments.rebuild_mib_per_s, self._client_requests)
        self._rebuilds = ResyncQueue(throttle, self._assembly.connections, self.save)

    # -- what the mirrors need

    def save(self) -> Future:
        """Put the state of all replicas on disk."""
        saved = Future()
        self._saves.ask(saved)
        return saved

    def missed_chunks(self, dextid: int, regions: DirtyRegions) -> MissedChunks:
        """Open the map of what a replica lacks."""
        return MissedChunks(self._assembly.missed_path(dextid), regions.chunks, regions.shift)

    @property
    def storage_wait(self) -> float:
        """Seconds for which requests wait for storage; while it is assembled, nobody does."""
        return self._storage_wait if self._assembled else 0.0

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, later."""
        self._reactor.after(seconds, call)

    def why_lost(self, replica: LiveReplica) -> Future:
        """Give a reply with ESTALE if the process that served a replica now refuses it."""
        return self._assembly.connections.why_lost(replica)

    def reconnect(
        self,
        replica: LiveReplica,
        size: int,
        lost: Callable[[str], None],
        found: Callable[[], None],
        evicted: Callable[[], None],
    ) -> None:
        """Try to reach a good replica again, for as long as it is good."""
        self._assembly.connections.reconnect(replica, size, lost, found, evicted)

    def reached(self, mirrorid: int) -> None:
        """Replicas of a mirror are back: those of others may be on their way.

        A store that comes back a moment after its origin must not be missed meanwhile.
        """
        for other in self._mirrors():
            if other.mirrorid != mirrorid:
                other.outage.renew()

    def log(self, text: str) -> None:
        """Write a line to the process's log; one that it has no room for is lost."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n"
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), line.encode())

    # -- assembly

    async def assemble(self) -> None:
        """Bring up all devices and publish them; without the origin nothing is changed."""
        self._reactor.every(min(0.5, self._timeout / 4), self._check_replicas)
        origin, *others = self._devices
        try:
            published_device.check_labels(origin.spec.labels)
            await self._assembly.join(origin, revived=self._revived)
            origin.joined = True
            self._snapshots = Snapshots(origin.volume)
            for device in others:
                await self._snapshots.add(self._stores.make_snapshot(device, origin.volume))
            await self._stores.open_all(others)
            await self.save_surely()
            for device in self._devices:
                self._publish(device)
        except EngineError:
            self._withdraw()
            raise
        self._assembled = True
        self._reactor.every(CLEAN_SECONDS, self._clean_dirty_regions)
        self._clean_dirty_regions()

    async def save_surely(self) -> None:
        """Save the state of all replicas; EngineError if that cannot be done."""
        error, _ = await self.save()
        if error:
            raise EngineError(
                error, f"the group's state file cannot be saved: {os.strerror(error)}"
            )

    def wants(self, device: GroupDevice) -> bool:
        """Tell whether a device still belongs to the group, and this is not being taken down."""
        return device in self._devices and not self._saved.ended

    def _publish(self, device: GroupDevice) -> None:
        path = published_device.socket_path(self._run_dir, device.lvolid)
        labels = device.spec.labels
        try:
            device.published = published_device.PublishedDevice(
                self._reactor, device.served, path, labels, self.epoch, self._access
            )
            device.published.link(self._links_dir)
        except OSError as error:
            raise EngineError(error.errno or errno.EIO, f"{path}: {error.strerror}") from None

    def _withdraw(self) -> None:
        for device in self._devices:
            if device.published is not None:
                device.published.withdraw(self._links_dir)

    # -- orders

    async def perform(
        self, order: dialogue.Order
    ) -> dialogue.GroupReply | dialogue.TakenDown | VerifyReply | None:
        """Carry out one order of the agent."""
        match order:
            case dialogue.TellState():
                shown = [device for device in self._devices if device.published]
                states = tuple(device.state() for device in shown)
                figures = tuple(device.figures() for device in shown)
                return dialogue.GroupReply(states, self.reports(), figures)
            case dialogue.TakeDown():
                return await self._detach()
            case dialogue.VerifyBlocks():
                return VerifyReply(await verify(self._mirror(order.order.mirrorid), order.order))
            case dialogue.TakeSnapshot():
                await self._take_snapshot(state_file.saved_device(order.device))
            case dialogue.RemoveSnapshot():
                await self._drop_snapshot(order.snapshot)
            case dialogue.StartRebuild():
                await self._rebuild(order.mirrorid, order.replica, order.replaces)
            case dialogue.StopRebuild():
                dextid = order.dextid
                self._cancel(lambda replica: replica.dextid == dextid)
            case _:
                raise EngineError(errno.EINVAL, "not an order for a group")
        return None

    def reports(self) -> tuple[ReplicaReport, ...]:
        """Report all replicas."""
        return tuple(report for device in self._devices for report in device.reports())

    async def _detach(self) -> dialogue.TakenDown:
        for device in self._devices:
            if device.clients:
                raise EngineError(
                    errno.EBUSY, f"volume {device.lvolid} is open by {device.clients} clients"
                )
        self._withdraw()
        self._storage_wait = 0.0  # nobody is left who could wait
        for mirror in self._mirrors():
            mirror.outage.end_waiting()
        for device in self._devices:
            if device.snapshot is not None:
                device.snapshot.stop()
        await self._rebuilds.stop()
        self._cancel(lambda replica: replica.state in TO_BUILD)
        closing = [LoopTask(self._close_mirror(mirror)) for mirror in self._mirrors()]
        clean = [await closed for closed in closing]
        self._assembly.connections.stopped = True
        self._saved = replace(self._saved, ended=True)
        await self.save()
        reports = self.reports()
        # What is known of a store that was not reached, or lost, is kept for whoever asks again.
        whole = all(device.joined and not device.broken for device in self._devices)
        for device in self._devices:
            reports = device.distrusted(reports)
        for device in self._devices:
            device.part()
        self._reactor.soon.append(self._reactor.stop)
        return dialogue.TakenDown(reports, all(clean) and whole)

    async def _close_mirror(self, mirror: LiveMirror) -> bool:
        """Let writes land, flush, and mark clean what is known to be equal."""
        await mirror.ranges.take(0, mirror.size)
        flushed = await mirror.close()
        await mirror.settlement.settled()
        if mirror.unsynced or not flushed:
            return False
        return bool(await mirror.mark(clean=True)) and not mirror.settlement.under_way

    async def _take_snapshot(self, spec: SavedDevice) -> None:
        same = next((one for one in self._devices if one.lvolid == spec.lvolid), None)
        if same is not None:
            await self._until_published(same)
            return
        device = GroupDevice(spec)
        snapshot = self._stores.make_snapshot(device, self._devices[0].volume)
        self._devices.append(device)
        try:
            await self._stores.open_new(device, snapshot)
        except EngineError:
            self._devices.remove(device)
            raise
        await self._snapshots.add(snapshot)
        await self.save()
        self._publish(device)

    async def _until_published(self, device: GroupDevice) -> None:
        """An earlier order may still be at it, and nothing is frozen before its end."""
        while device.published is None:
            waited = Future()
            self._reactor.after(0.05, waited)
            await waited
            if device not in self._devices:
                raise EngineError(errno.EIO, f"snapshot {device.lvolid} could not be made")

    async def _drop_snapshot(self, lvolid: int) -> None:
        device = next((one for one in self._devices if one.lvolid == lvolid), None)
        if device is None:
            return
        if device.snapshot is None or device.published is None:
            raise EngineError(errno.EINVAL, f"volume {lvolid} is no snapshot of this group")
        if device.clients:
            raise EngineError(errno.EBUSY, f"snapshot {lvolid} is open by {device.clients} clients")
        device.published.withdraw(self._links_dir)
        device.snapshot.break_for_good("it is being taken away")  # no write waits for it any more
        await self._snapshots.remove(device.snapshot)
        replicas, saved = device.replicas(), device.saved()
        self._cancel(lambda replica: replica in replicas)
        self._devices.remove(device)
        device.part()
        await self.save()
        self._assembly.forget(saved)

    async def _rebuild(self, mirrorid: int, spec: ReplicaSpec, replaces: int) -> None:
        mirror = next((one for one in self._mirrors() if one.mirrorid == mirrorid), None)
        if mirror is None:
            if not any(device.relocate(mirrorid, spec) for device in self._devices):
                raise EngineError(errno.ENOENT, f"no mirror {mirrorid} is in use in this group")
            await self.save()
            return
        mirror.outage.trust()
        replica = mirror.find(spec.dextid)
        if replica is not None and replica.state in {INSYNC, QUEUED, BUILDING}:
            # In use already. One that is away may have moved: that is where to look for it now.
            replica.addresses, replica.port, replica.export = spec.addresses, spec.port, spec.export
            return
        built = LiveReplica(spec.dextid, spec.addresses, spec.port, spec.export, FAULTY)
        built.replaces = replaces
        if replica is None:
            mirror.replicas.append(built)
        else:
            built.missed, built.events = replica.missed, replica.events
            mirror.replicas[mirror.replicas.index(replica)] = built
        if built.missed is None:
            built.missed = self.missed_chunks(built.dextid, mirror.regions)
            built.missed.add_all()
        self._rebuilds.build(mirror, built)
        await self.save()

    def _cancel(self, concerned: Callable[[LiveReplica], bool]) -> None:
        for mirror in self._mirrors():
            for replica in list(mirror.replicas):
                if concerned(replica):
                    self._rebuilds.cancel(mirror, replica)

    # -- the whole

    def _mirrors(self) -> list[LiveMirror]:
        return [mirror for device in self._devices for mirror in device.mirrors]

    def _mirror(self, mirrorid: int) -> LiveMirror:
        for mirror in self._mirrors():
            if mirror.mirrorid == mirrorid:
                return mirror
        raise EngineError(errno.ENOENT, f"no mirror {mirrorid} in this group")

    def _prepare_save(self) -> Work:
        return partial(state_file.write_state, self._folder, self._state())

    def _state(self) -> SavedGroup:
        return replace(self._saved, devices=tuple(device.saved() for device in self._devices))

    def _client_requests(self) -> int:
        return self._devices[0].volume.requests

    def _check_replicas(self) -> None:
        """Find connections that are lost; of idle ones, too, once storage is away elsewhere."""
        now = self._reactor.now
        waiting = any(mirror.waiting for mirror in self._mirrors())
        for device in self._devices:
            for replica in device.replicas():
                connection = replica.connection
                if connection is not None:
                    connection.check(now)
                    if waiting and not connection.pending:
                        connection.probe()
            if device.snapshot is not None:
                device.snapshot.check(now)

    def _clean_dirty_regions(self) -> None:
        for mirror in self._mirrors():
            if mirror.unsynced and mirror.readers[0].is_reachable():
                self._rebuilds.resolve(mirror)
            if mirror.regions.is_dirty and mirror not in self._cleaning:
                self._cleaning.add(mirror)
                cleaning = LoopTask(mirror.clean_dirty())
                cleaning.when_ended(partial(self._cleaning.discard, mirror))
