"""Assembling a group: connecting its replicas, finding what to resync, marking them."""

import contextlib
import errno
import os
from collections.abc import Sequence
from functools import partial

from agents.engines.base import EngineError
from agents.engines.userspace.head.group_device import GroupDevice
from agents.engines.userspace.head.state_file import SavedDevice, SavedMirror, SavedReplica
from agents.engines.userspace.loop.coroutines import LoopTask, io
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.mirror.connections import Connections
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import (
    FAULTY,
    INSYNC,
    TO_BUILD,
    LiveReplica,
)
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.missed_chunks import MissedChunks, check_version
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.mirror.write_intent import DirtyRegions, WriteIntentBitmap
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.process.dialogue import HeadArguments
from agents.ondisk import GB, MARK_BYTES, Mark, unpack_mark
from agents.protocol import Reason


class Assembly:
    """Makes the devices of a group of mirrors, and these of replicas."""

    def __init__(self, reactor: Reactor, group: MirrorOwner, arguments: HeadArguments) -> None:
        self._group = group
        self._folder = arguments.folder
        self._boot_id = arguments.boot_id
        self.connections = Connections(reactor, arguments.replica_timeout)
        self._bitmaps: dict[int, WriteIntentBitmap] = {}
        self._files: frozenset[str] = frozenset()

    async def join(self, device: GroupDevice, *, revived: bool, quiet: bool = False) -> None:
        """Make a device's volume as it was saved, connect its good replicas and mark them.

        The caller saves what became of the replicas before it serves the volume. `quiet`: why it
        fails was logged before.
        """
        device.volume = self._make_volume(device.spec, revived=revived)
        try:
            await self._join(device.volume, device.spec, revived=revived, quiet=quiet)
        except EngineError:
            device.part()
            raise

    def _make_volume(self, device: SavedDevice, *, revived: bool) -> Volume:
        size = sum(mirror.size_gb for mirror in device.mirrors) * GB
        path = self._intent_path(device.lvolid)
        try:
            bitmap = WriteIntentBitmap(path, size, self._group.epoch, self._boot_id)
        except OSError as error:
            raise EngineError(error.errno or errno.EIO, f"{path}: {error.strerror}") from None
        self._bitmaps[device.lvolid] = bitmap
        self._files = frozenset(os.listdir(self._folder))  # once: there are many replicas
        mirrors: list[LiveMirror] = []
        for saved in device.mirrors:
            base = mirrors[-1].base + mirrors[-1].size if mirrors else 0
            mirrors.append(self._make_mirror(saved, base, bitmap, revived=revived))
        return Volume(device.lvolid, mirrors)

    def _make_mirror(
        self, saved: SavedMirror, base: int, bitmap: WriteIntentBitmap, *, revived: bool
    ) -> LiveMirror:
        size = saved.size_gb * GB
        regions = bitmap.part(base, size)
        mirror = LiveMirror(self._group, saved.mirrorid, size, base, regions)
        mirror.settlement.events = saved.events
        known = revived and bitmap.survived and bitmap.old_epoch == self._group.epoch
        for one in saved.replicas:
            replica = _make_replica(one)
            replica.events = replica.events or saved.events
            replica.missed = self._recall_missed(replica, regions, known=known)
            mirror.replicas.append(replica)
        mirror.refresh()
        return mirror

    def _recall_missed(
        self, replica: LiveReplica, regions: DirtyRegions, *, known: bool
    ) -> MissedChunks | None:
        """Take up the map of what a replica lacks, if it is `known` to be true; else remove it."""
        path = self.missed_path(replica.dextid)
        if os.path.basename(path) not in self._files:
            return None
        check_version(path)
        if not known or replica.state != FAULTY:
            os.unlink(path)
            return None
        missed = MissedChunks(path, regions.chunks, regions.shift)
        missed.add(regions.as_missing())
        return missed

    def _intent_path(self, lvolid: int) -> str:
        return f"{self._folder}/intent-{lvolid:08x}"

    def missed_path(self, dextid: int) -> str:
        """Name the file that keeps what a replica lacks."""
        return f"{self._folder}/missed-{dextid:08x}"

    async def _join(
        self, volume: Volume, device: SavedDevice, *, revived: bool, quiet: bool
    ) -> None:
        await self._connect_all(volume, quiet=quiet)
        for mirror in volume.mirrors:
            if not mirror.readers:
                raise EngineError(
                    errno.EHOSTUNREACH, f"mirror {mirror.mirrorid}: no good replica answers"
                )
        bitmap = self._bitmaps[volume.lvolid]
        for joined in [
            LoopTask(self._join_mirror(mirror, bitmap, examine=spec.dirty or revived))
            for mirror, spec in zip(volume.mirrors, device.mirrors, strict=True)
        ]:
            await joined
        bitmap.adopt()

    async def _connect_all(self, volume: Volume, *, quiet: bool) -> None:
        # Server by server: one that is busy accepting needs not be woken for each.
        wanted = [(mirror, replica) for mirror in volume.mirrors for replica in mirror.readers]
        wanted.sort(key=lambda one: (one[1].addresses, one[1].port))
        connect = self.connections.connect
        waiting = [
            (mirror, replica, connect(replica, mirror.size, partial(mirror.lost, replica)))
            for mirror, replica in wanted
        ]
        for mirror, replica, connected in waiting:
            error, why = await connected
            if error:
                if not quiet:
                    self._group.log(f"mirror {mirror.mirrorid} replica {replica.dextid}: {why}")
                replica.state, replica.reason = FAULTY, Reason.CONNECTION
                # It was good until now: it lacks no more than what is dirty and what comes.
                replica.missed = self._group.missed_chunks(replica.dextid, mirror.regions)
                mirror.refresh()
            else:
                # The state file may tell why its connection was lost before the process died.
                replica.reason = Reason.NONE

    async def _join_mirror(
        self, mirror: LiveMirror, bitmap: WriteIntentBitmap, *, examine: bool
    ) -> None:
        if examine:
            marks = await self._read_marks(mirror)
            newest = max((mark.events for _, mark in marks), default=0)
            self._exclude_stale(mirror, marks, newest)
            mirror.settlement.events = max(mirror.events, newest)
            epochs = {mark.epoch for _, mark in marks if mark.events == newest}
            known = bitmap.survived and epochs == {bitmap.old_epoch}
            mirror.unsynced = (
                mirror.regions.resync_dirty() if known else mirror.regions.resync_all()
            )
        elif bitmap.survived:
            mirror.regions.clear()
        for replica in mirror.replicas:
            if replica.missed is not None:
                replica.missed.add(mirror.regions.as_missing())
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

    def _exclude_stale(
        self, mirror: LiveMirror, marks: Sequence[tuple[LiveReplica, Mark]], newest: int
    ) -> None:
        """A replica is stale though the state file, which could not be saved, does not tell."""
        for replica, mark in marks:
            if mark.events < newest and replica.state == INSYNC:
                self._group.log(f"mirror {mirror.mirrorid} replica {replica.dextid}: stale")
                replica.state, replica.reason = FAULTY, Reason.STALE
                replica.drop()
        mirror.refresh()

    def forget(self, device: SavedDevice) -> None:
        """Remove what is kept about a device that is gone."""
        self._bitmaps.pop(device.lvolid, None)
        paths = [self._intent_path(device.lvolid)]
        paths += [self.missed_path(r.dextid) for mirror in device.mirrors for r in mirror.replicas]
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _make_replica(saved: SavedReplica) -> LiveReplica:
    replica = LiveReplica(
        saved.dextid,
        saved.addresses,
        saved.port,
        saved.export,
        saved.state,
        saved.reason,
        saved.events,
    )
    if replica.state in TO_BUILD:  # what was copied to it is lost with the process
        replica.state, replica.reason = FAULTY, Reason.STALE
    return replica
