"""The stores of a group's snapshots: opened, and looked for while they are out of reach.

An origin never waits for them to be brought up. What cannot be reached then stays in the group's
record as it was, and is looked for until it is found or its snapshot is broken.
"""

import errno
from collections.abc import Iterable
from typing import Protocol

from agents.engines.base import EngineError
from agents.engines.userspace.head import published_device
from agents.engines.userspace.head.assembly import Assembly
from agents.engines.userspace.head.group_device import GroupDevice
from agents.engines.userspace.loop.coroutines import Future, LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.volume import Volume
from agents.engines.userspace.process.dialogue import HeadArguments
from agents.engines.userspace.snapshot.kept_chunks import KeptChunks, NotItsStore
from agents.engines.userspace.snapshot.snapshot import Snapshot

LOOK_SECONDS = 1.0
"""Between two looks for a store that was out of reach."""
TIMEOUT_FACTOR = 3
"""For so many timeouts of a replica, 15 s, an origin's writes wait for a store that is out of
reach: half of what guests wait for a disk."""


class StoreOwner(MirrorOwner, Protocol):
    """The group as its snapshots' stores see it."""

    async def save_surely(self) -> None:
        """Put the state of all replicas on disk, or raise EngineError."""

    def wants(self, device: GroupDevice) -> bool:
        """Tell whether a device still belongs to the group, and this is not being taken down."""


class SnapshotStores:
    """Gives each snapshot of a group its store."""

    def __init__(
        self, reactor: Reactor, group: StoreOwner, assembly: Assembly, arguments: HeadArguments
    ) -> None:
        self._reactor = reactor
        self._group = group
        self._assembly = assembly
        self._revived = arguments.revive
        self._timeout = TIMEOUT_FACTOR * arguments.replica_timeout

    def make_snapshot(self, device: GroupDevice, origin: Volume) -> Snapshot:
        """Make a device's snapshot, which has no store yet."""
        published_device.check_labels(device.spec.labels)
        device.snapshot = Snapshot(
            device.lvolid, origin, self._group, self._timeout, broken=device.spec.broken
        )
        return device.snapshot

    async def open_new(self, device: GroupDevice, snapshot: Snapshot) -> None:
        """Open the store of a snapshot that is being taken; EngineError if that cannot be done."""
        await self._open(device, snapshot, revived=False)

    async def open_all(self, devices: Iterable[GroupDevice]) -> None:
        """Open the stores of snapshots that there were; those out of reach are looked for."""
        # All at once: each may have to wait for servers that do not answer.
        found = [
            (device, device.snapshot, LoopTask(self._find(device, device.snapshot)))
            for device in devices
            if device.snapshot is not None
        ]
        for device, snapshot, trying in found:
            if not await trying:
                LoopTask(self._look_for(device, snapshot))

    async def _look_for(self, device: GroupDevice, snapshot: Snapshot) -> None:
        found = False
        while not found:
            paused = Future()
            self._reactor.after(LOOK_SECONDS, paused)
            await paused
            if snapshot.broken or not self._group.wants(device):
                return
            found = await self._find(device, snapshot, again=True)
        self._group.log(f"snapshot {device.lvolid}: its store is reached again")

    async def _find(self, device: GroupDevice, snapshot: Snapshot, *, again: bool = False) -> bool:
        """Open a store if it can be reached; one that holds something else breaks its snapshot."""
        try:
            await self._open(device, snapshot, revived=self._revived, again=again)
        except NotItsStore as error:
            snapshot.break_for_good(str(error))
        except EngineError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                raise  # a newer engine's file, which must be neither misread nor gone without
            if not again:
                self._group.log(f"snapshot {device.lvolid}: {error}")
            return False
        return True

    async def _open(
        self, device: GroupDevice, snapshot: Snapshot, *, revived: bool, again: bool = False
    ) -> None:
        await self._assembly.join(device, revived=revived, quiet=again)
        store = KeptChunks(device.volume, snapshot.size)
        try:
            if not snapshot.broken:
                await store.load(fresh=device.spec.is_fresh)
            device.joined = True
            # A group revived after this moment has to copy before writes too.
            await self._group.save_surely()
        except EngineError:
            device.part()
            raise
        snapshot.use(store)
