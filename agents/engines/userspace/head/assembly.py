"""Assembling a group: connecting its replicas, finding what to resync, marking them."""

import errno
import os
from collections.abc import Sequence
from functools import partial

from agents.engines.base import EngineError
from agents.engines.userspace.head.state_file import SavedDevice, SavedReplica
from agents.engines.userspace.loop.coroutines import LoopTask, io
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.mirror.connections import Connections
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import (
    BUILDING,
    FAULTY,
    INSYNC,
    QUEUED,
    LiveReplica,
)
from agents.engines.userspace.mirror.marks import GB, MARK_BYTES, Mark, unpack_mark
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.missed_chunks import MissedChunks, check_version
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.mirror.write_intent import DirtyRegions, WriteIntentBitmap
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.process.orders import HeadArguments
from agents.protocol import Reason


class Assembly:
    """Makes the devices of a group of mirrors, and these of replicas."""

    def __init__(self, reactor: Reactor, group: MirrorOwner, arguments: HeadArguments) -> None:
        self._group = group
        self._folder = arguments.folder
        self._boot_id = arguments.boot_id
        self.connections = Connections(reactor, arguments.replica_timeout)
        self._maps: dict[int, WriteIntentBitmap] = {}
        self.revived = arguments.revive

    def make_volume(self, device: SavedDevice) -> Volume:
        """Make a device as it was saved, not yet connected."""
        size = sum(mirror.size_gb for mirror in device.mirrors) * GB
        path = f"{self._folder}/intent-{device.lvolid:08x}"
        try:
            whole = WriteIntentBitmap(path, size, self._group.epoch, self._boot_id)
        except OSError as error:
            raise EngineError(error.errno or errno.EIO, f"{path}: {error.strerror}") from None
        self._maps[device.lvolid] = whole
        files = frozenset(os.listdir(self._folder))
        base = 0
        mirrors = []
        for spec in device.mirrors:
            mirror_size = spec.size_gb * GB
            regions = whole.part(base, mirror_size)
            mirror = LiveMirror(self._group, spec.mirrorid, mirror_size, base, regions)
            mirror.settlement.events = spec.events
            mirror.replicas = [
                self._make_replica(replica, regions, whole, files) for replica in spec.replicas
            ]
            for replica in mirror.replicas:
                replica.events = replica.events or spec.events
            mirror.refresh()
            mirrors.append(mirror)
            base += mirror_size
        return Volume(device.lvolid, mirrors)

    def _make_replica(
        self,
        spec: SavedReplica,
        regions: DirtyRegions,
        whole: WriteIntentBitmap,
        files: frozenset[str],
    ) -> LiveReplica:
        replica = LiveReplica(
            spec.dextid,
            spec.addresses,
            spec.port,
            spec.export,
            spec.state,
            spec.why,
            spec.events,
        )
        if replica.state in {QUEUED, BUILDING}:
            replica.state, replica.why = FAULTY, Reason.STALE
        known = self.revived and whole.survived and whole.old_epoch == self._group.epoch
        if f"missed-{replica.dextid:08x}" in files:
            path = self.missed_path(replica.dextid)
            check_version(path)
            if known and replica.state == FAULTY:
                replica.missed = MissedChunks(path, regions.chunks, regions.shift)
                replica.missed.add(regions.as_missing())
            else:
                os.unlink(path)
        return replica

    def missed_path(self, dextid: int) -> str:
        """Name the file that keeps what a replica lacks."""
        return f"{self._folder}/missed-{dextid:08x}"

    async def join(self, volume: Volume, device: SavedDevice) -> None:
        """Connect all good replicas, find what is to be resynced, and mark them as in use.

        The caller saves what became of the replicas before it serves the volume.
        """
        # Server by server: one that is busy accepting needs not be woken for each.
        wanted = [(mirror, replica) for mirror in volume.mirrors for replica in mirror.readers]
        wanted.sort(key=lambda one: (one[1].addresses, one[1].port))
        waiting = [
            (
                mirror,
                replica,
                self.connections.connect(replica, mirror.size, partial(mirror.lost, replica)),
            )
            for mirror, replica in wanted
        ]
        for mirror, replica, connected in waiting:
            error, why = await connected
            if error:
                self._group.log(f"mirror {mirror.mirrorid} replica {replica.dextid}: {why}")
                replica.state, replica.why = FAULTY, Reason.CONNECTION
                # It was good until now: it lacks no more than what is dirty and what comes.
                replica.missed = self._group.missed_chunks(replica.dextid, mirror.regions)
        for mirror in volume.mirrors:
            mirror.refresh()
            if not mirror.readers:
                raise EngineError(
                    errno.EHOSTUNREACH, f"mirror {mirror.mirrorid}: no good replica answers"
                )
        whole = self._maps[volume.lvolid]
        for joined in [
            LoopTask(self._join_mirror(mirror, whole, dirty=spec.dirty))
            for mirror, spec in zip(volume.mirrors, device.mirrors, strict=True)
        ]:
            await joined
        whole.adopt()

    async def _join_mirror(
        self, mirror: LiveMirror, whole: WriteIntentBitmap, *, dirty: bool
    ) -> None:
        if dirty or self.revived:
            marks = await self._read_marks(mirror)
            newest = max((mark.events for _, mark in marks), default=0)
            self._leave_out_older(mirror, marks, newest)
            mirror.settlement.events = max(mirror.events, newest)
            epochs = {mark.epoch for _, mark in marks if mark.events == newest}
            known = whole.survived and epochs == {whole.old_epoch}
            mirror.unsynced = (
                mirror.regions.resync_dirty() if known else mirror.regions.resync_all()
            )
        elif whole.survived:
            mirror.regions.clear()
        for replica in mirror.replicas:
            if replica.missed is not None:
                replica.missed.add(mirror.regions.as_missing())
        mirror.refresh()
        mirror.settlement.begin(save=False)
        error, _ = await mirror.settlement.settled()
        if error:
            raise EngineError(error, f"mirror {mirror.mirrorid}: no good replica takes the mark")

    async def _read_marks(self, mirror: LiveMirror) -> Sequence[tuple[LiveReplica, Mark]]:
        replicas = mirror.readers
        replies = [io(replica, messages.READ, mirror.size, MARK_BYTES) for replica in replicas]
        blocks = [await reply for reply in replies]
        marks = [Mark() if error else unpack_mark(block) for error, block in blocks]
        return list(zip(replicas, marks, strict=True))

    def _leave_out_older(
        self, mirror: LiveMirror, marks: Sequence[tuple[LiveReplica, Mark]], newest: int
    ) -> None:
        """A replica is stale though the state file, which could not be saved, does not tell."""
        for replica, mark in marks:
            if mark.events < newest and replica.state == INSYNC:
                self._group.log(
                    f"mirror {mirror.mirrorid} replica {replica.dextid}: older than others"
                )
                replica.state, replica.why = FAULTY, Reason.STALE
                replica.drop()

    def forget(self, volume: Volume) -> None:
        """Remove what is kept about a device that is gone."""
        whole = self._maps.pop(volume.lvolid)
        os.unlink(whole.path)
        for mirror in volume.mirrors:
            for replica in mirror.replicas:
                if replica.missed is not None:
                    replica.missed.remove()
