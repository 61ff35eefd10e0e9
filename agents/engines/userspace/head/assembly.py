"""Bringing a group's replicas together: connections, what is in doubt, marks."""

import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.loop.tasks import Fault, Task, io
from agents.engines.userspace.mirror.connections import Connections
from agents.engines.userspace.mirror.intent import IntentMap, MirrorIntent, MissedChunks
from agents.engines.userspace.mirror.mirror import Mirror
from agents.engines.userspace.mirror.replica import (
    BUILDING,
    CONNECTION,
    FAULTY,
    INSYNC,
    QUEUED,
    STALE,
    Replica,
)
from agents.engines.userspace.mirror.surroundings import Surroundings
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.nbd import protocol
from agents.ondisk import GB, MARK_BYTES, Mark, unpack_mark


class Parts:
    """How the devices of a group are made of mirrors, and these of replicas."""

    def __init__(self, reactor: Reactor, group: Surroundings, arguments: dict[str, Any]) -> None:
        self._group = group
        self._folder: str = arguments["folder"]
        self._boot_id: str = arguments["boot_id"]
        self.connections = Connections(reactor, arguments["leg_timeout"])
        self._maps: dict[int, IntentMap] = {}
        self.revived: bool = arguments["revive"]

    def make_volume(self, device: dict[str, Any]) -> Volume:
        """Make a device of its record, not yet connected."""
        size = sum(mirror["size_gb"] for mirror in device["mirrors"]) * GB
        path = f"{self._folder}/intent-{device['lvolid']:08x}"
        try:
            whole = IntentMap(path, size, self._group.epoch, self._boot_id)
        except OSError as error:
            raise Fault(error.errno or errno.EIO, f"{path}: {error.strerror}") from None
        self._maps[device["lvolid"]] = whole
        files = frozenset(os.listdir(self._folder))
        base = 0
        mirrors = []
        for spec in device["mirrors"]:
            mirror_size = spec["size_gb"] * GB
            intent = whole.part(base, mirror_size)
            mirror = Mirror(self._group, spec["mirrorid"], mirror_size, base, intent)
            mirror.settlement.events = spec["events"]
            mirror.replicas = [
                self._make_replica(replica, intent, whole, files) for replica in spec["legs"]
            ]
            for replica in mirror.replicas:
                replica.events = replica.events or spec["events"]
            mirror.refresh()
            mirrors.append(mirror)
            base += mirror_size
        return Volume(device["lvolid"], mirrors)

    def _make_replica(
        self, spec: dict[str, Any], intent: MirrorIntent, whole: IntentMap, files: frozenset[str]
    ) -> Replica:
        replica = Replica(spec)
        if replica.state in {QUEUED, BUILDING}:
            replica.state, replica.why = FAULTY, STALE
        known = self.revived and whole.survived and whole.old_epoch == self._group.epoch
        if f"missed-{replica.dextid:08x}" in files:
            path = self.missed_path(replica.dextid)
            if known and replica.state == FAULTY:
                replica.missed = MissedChunks(path, intent.chunks, intent.shift)
                replica.missed.add(intent.unsafe())
            else:
                os.unlink(path)
        return replica

    def missed_path(self, dextid: int) -> str:
        """Name the file that keeps what a replica lacks."""
        return f"{self._folder}/missed-{dextid:08x}"

    async def join(self, volume: Volume, device: dict[str, Any]) -> None:
        """Connect all good replicas, settle what is in doubt, and mark them as in use.

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
                replica.state, replica.why = FAULTY, CONNECTION
                # It was good until now: it lacks no more than what is in doubt and what comes.
                replica.missed = self._group.missed_chunks(replica.dextid, mirror.intent)
        for mirror in volume.mirrors:
            mirror.refresh()
            if not mirror.readers:
                raise Fault(
                    errno.EHOSTUNREACH, f"mirror {mirror.mirrorid}: no good replica answers"
                )
        whole = self._maps[volume.lvolid]
        for joined in [
            Task(self._join_mirror(mirror, whole, doubt=spec["doubt"]))
            for mirror, spec in zip(volume.mirrors, device["mirrors"], strict=True)
        ]:
            await joined
        whole.adopt()

    async def _join_mirror(self, mirror: Mirror, whole: IntentMap, *, doubt: bool) -> None:
        if doubt or self.revived:
            marks = await self._read_marks(mirror)
            newest = max((mark.events for _, mark in marks), default=0)
            self._leave_out_older(mirror, marks, newest)
            mirror.settlement.events = max(mirror.events, newest)
            epochs = {mark.epoch for _, mark in marks if mark.events == newest}
            known = whole.survived and epochs == {whole.old_epoch}
            mirror.doubts = mirror.intent.doubt_dirty() if known else mirror.intent.doubt_all()
        elif whole.survived:
            mirror.intent.clear()
        for replica in mirror.replicas:
            if replica.missed is not None:
                replica.missed.add(mirror.intent.unsafe())
        mirror.refresh()
        mirror.settlement.begin(save=False)
        error, _ = await mirror.settlement.settled()
        if error:
            raise Fault(error, f"mirror {mirror.mirrorid}: no good replica takes the mark")

    async def _read_marks(self, mirror: Mirror) -> Sequence[tuple[Replica, Mark]]:
        replicas = mirror.readers
        replies = [io(replica, protocol.READ, mirror.size, MARK_BYTES) for replica in replicas]
        blocks = [await reply for reply in replies]
        marks = [Mark() if error else unpack_mark(block) for error, block in blocks]
        return list(zip(replicas, marks, strict=True))

    def _leave_out_older(
        self, mirror: Mirror, marks: Sequence[tuple[Replica, Mark]], newest: int
    ) -> None:
        """A replica was left behind though the record, which could not be saved, does not tell."""
        for replica, mark in marks:
            if mark.events < newest and replica.state == INSYNC:
                self._group.log(
                    f"mirror {mirror.mirrorid} replica {replica.dextid}: older than others"
                )
                replica.state, replica.why = FAULTY, STALE
                replica.drop()

    def forget(self, volume: Volume) -> None:
        """Remove what is kept about a device that is gone."""
        whole = self._maps.pop(volume.lvolid)
        os.unlink(whole.path)
        for mirror in volume.mirrors:
            for replica in mirror.replicas:
                if replica.missed is not None:
                    replica.missed.remove()
