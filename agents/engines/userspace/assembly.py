"""Bringing a group's copies together: connections, what is in doubt, marks."""

import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from agents.engines.userspace import nbd
from agents.engines.userspace.intent import IntentMap, MirrorIntent, MissedChunks
from agents.engines.userspace.leg import BUILDING, CONNECTION, FAULTY, INSYNC, QUEUED, STALE, Leg
from agents.engines.userspace.marks import GB, MARK_BYTES, Mark, unpack_mark
from agents.engines.userspace.mirror import Mirror, Surroundings
from agents.engines.userspace.reactor import Reactor
from agents.engines.userspace.remote import Remote, open_remote
from agents.engines.userspace.tasks import Fault, Later, Task, io
from agents.engines.userspace.volume import Volume

RECONNECT_SECONDS = 0.5


class Parts:
    """How the devices of a group are made of mirrors, and these of copies."""

    def __init__(self, reactor: Reactor, group: Surroundings, arguments: dict[str, Any]) -> None:
        self._reactor = reactor
        self._group = group
        self._folder: str = arguments["folder"]
        self._boot_id: str = arguments["boot_id"]
        self._timeout: float = arguments["leg_timeout"]
        self._maps: dict[int, IntentMap] = {}
        self.revived: bool = arguments["revive"]
        self.stopped = False

    def make_volume(self, device: dict[str, Any]) -> Volume:
        """Make a device of its record, not yet connected."""
        size = sum(mirror["size_gb"] for mirror in device["mirrors"]) * GB
        path = f"{self._folder}/intent-{device['lvolid']:08x}"
        whole = self._maps[device["lvolid"]] = IntentMap(
            path, size, self._group.epoch, self._boot_id
        )
        base = 0
        mirrors = []
        for spec in device["mirrors"]:
            mirror_size = spec["size_gb"] * GB
            intent = whole.part(base, mirror_size)
            mirror = Mirror(self._group, spec["mirrorid"], mirror_size, base, intent)
            mirror.events = spec["events"]
            mirror.legs = [self._make_leg(leg, intent, whole) for leg in spec["legs"]]
            mirror.refresh()
            mirrors.append(mirror)
            base += mirror_size
        return Volume(device["lvolid"], mirrors)

    def _make_leg(self, spec: dict[str, Any], intent: MirrorIntent, whole: IntentMap) -> Leg:
        leg = Leg(spec)
        path = self.missed_path(leg.dextid)
        if leg.state in {QUEUED, BUILDING}:
            leg.state, leg.why = FAULTY, STALE
        known = self.revived and whole.survived and whole.old_epoch == self._group.epoch
        if os.path.exists(path):
            if known and leg.state == FAULTY:
                leg.missed = MissedChunks(path, intent.chunks, intent.shift)
                leg.missed.add(intent.unsafe())
            else:
                os.unlink(path)  # noqa: PTH108 (pathlib is left out of engine processes)
        return leg

    def missed_path(self, dextid: int) -> str:
        """Name the file that keeps what a copy lacks."""
        return f"{self._folder}/missed-{dextid:08x}"

    async def join(self, volume: Volume, device: dict[str, Any]) -> None:
        """Connect all good copies, settle what is in doubt, and mark them as in use."""
        waiting = [
            (mirror, leg, self.connect(mirror, leg))
            for mirror in volume.mirrors
            for leg in mirror.readers
        ]
        for mirror, leg, connected in waiting:
            error, why = await connected
            if error:
                self._group.log(f"mirror {mirror.mirrorid} copy {leg.dextid}: {why}")
                leg.state, leg.why = FAULTY, CONNECTION
                # It was good until now: it lacks no more than what is in doubt and what comes.
                leg.missed = self._group.missed_chunks(leg.dextid, mirror.intent)
        for mirror in volume.mirrors:
            mirror.refresh()
            if not mirror.readers:
                raise Fault(errno.EHOSTUNREACH, f"mirror {mirror.mirrorid}: no good copy answers")
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
            mirror.events = max(mirror.events, *(mark.events for mark in marks))
            epochs = {mark.epoch for mark in marks}
            known = whole.survived and epochs == {whole.old_epoch}
            mirror.doubts = mirror.intent.doubt_dirty() if known else mirror.intent.doubt_all()
        else:
            mirror.intent.clear()
        for leg in mirror.legs:
            if leg.missed is not None:
                leg.missed.add(mirror.intent.unsafe())
        mirror.refresh()
        mirror.settle()
        error, _ = await mirror.settled()
        if error:
            raise Fault(error, f"mirror {mirror.mirrorid}: no good copy takes the mark")

    async def _read_marks(self, mirror: Mirror) -> Sequence[Mark]:
        replies = [io(leg, nbd.READ, mirror.size, MARK_BYTES) for leg in mirror.readers]
        blocks = [await reply for reply in replies]
        return [Mark() if error else unpack_mark(block) for error, block in blocks]

    def connect(self, mirror: Mirror, leg: Leg) -> Later:
        """Connect a copy; the reply has an errno and the reason if it cannot be reached."""
        connected = Later()

        def opened(remote: Remote | None, why: str) -> None:
            if remote is None:
                connected(errno.EHOSTUNREACH, why)
            elif remote.size < mirror.size + MARK_BYTES:
                remote.goodbye()
                connected(errno.EINVAL, "the export is too small")
            else:
                leg.remote = remote
                remote.on_lost = partial(mirror.lost, leg)
                connected(0)

        open_remote(self._reactor, leg.addresses, leg.port, leg.export, self._timeout, opened)
        return connected

    def reconnect(self, mirror: Mirror, leg: Leg) -> None:
        """Try again and again to reach a mirror's last good copy."""
        Task(self._reconnect(mirror, leg))

    async def _reconnect(self, mirror: Mirror, leg: Leg) -> None:
        while True:
            waited = Later()
            self._reactor.after(RECONNECT_SECONDS, waited)
            await waited
            if self.stopped or leg.state != INSYNC or leg.is_reachable():
                return
            error, _ = await self.connect(mirror, leg)
            if not error:
                mirror.found(leg)
                return

    def forget(self, volume: Volume) -> None:
        """Remove what is kept about a device that is gone."""
        whole = self._maps.pop(volume.lvolid)
        os.unlink(whole.path)  # noqa: PTH108
        for mirror in volume.mirrors:
            for leg in mirror.legs:
                if leg.missed is not None:
                    leg.missed.remove()


def reachable_legs(volumes: Sequence[Volume]) -> list[Leg]:
    """List the copies that are connected."""
    return [
        leg for volume in volumes for mirror in volume.mirrors for leg in mirror.legs if leg.remote
    ]
