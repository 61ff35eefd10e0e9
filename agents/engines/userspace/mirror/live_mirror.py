"""One mirror: the same bytes on several replicas, and what happens when one of them fails."""

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.engines.userspace.loop.coroutines import LoopTask, io
from agents.engines.userspace.mirror.live_replica import (
    BUILDING,
    FAULTY,
    INSYNC,
    LACKING,
    WRITTEN,
    LiveReplica,
)
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.range_locks import RangeLocks
from agents.engines.userspace.mirror.settlement import Settlement
from agents.engines.userspace.mirror.write_intent import DirtyRegions
from agents.engines.userspace.nbd import messages
from agents.ondisk import MARK_BYTES, Mark, pack_mark
from agents.protocol import Reason

if TYPE_CHECKING:
    from agents.engines.userspace.mirror.missed_chunks import MissedChunks

EVENT_SECONDS = 5.0

BeforeWrite = Callable[["LiveMirror", int, int, int, Any, int, messages.Done], bool]


class _Write:
    """A write under way on the replicas."""

    __slots__ = ("changes", "done", "good", "left", "length", "offset", "ticket")

    def __init__(
        self, ticket: int, offset: int, length: int, left: int, changes: int, done: messages.Done
    ) -> None:
        self.ticket = ticket
        self.offset = offset
        self.length = length
        self.left = left
        self.changes = changes
        self.done = done
        self.good: list[LiveReplica] = []


class LiveMirror:
    """Writes go to every replica in use; one that fails a write is out before it is acknowledged.

    The last good replica is never failed: its errors go to the client, and its connection is the
    only one that is ever tried again, because nobody can know more than it.
    """

    def __init__(
        self, group: MirrorOwner, mirrorid: int, size: int, base: int, regions: DirtyRegions
    ) -> None:
        self.mirrorid = mirrorid
        self.size = size
        self.base = base
        self.regions = regions
        self.settlement = Settlement(partial(self.mark, clean=False), group.save)
        self.replicas: list[LiveReplica] = []
        self.unsynced = 0
        self.before_write: BeforeWrite | None = None
        self.requests = 0
        self.in_flight: dict[int, tuple[int, int]] = {}
        self.ranges = RangeLocks(self.in_flight)
        self._group = group
        self._readers: tuple[LiveReplica, ...] = ()
        self._writers: tuple[LiveReplica, ...] = ()
        self._missing: tuple[MissedChunks, ...] = ()
        self._changes = 0
        self._flushed = 0
        self._lost_writes = False
        self._last_event = 0.0

    # -- the replicas

    @property
    def events(self) -> int:
        """The event count that the good replicas are marked with."""
        return self.settlement.events

    @property
    def epoch(self) -> int:
        """The epoch that the replicas are marked with."""
        return self._group.epoch

    @property
    def readers(self) -> tuple[LiveReplica, ...]:
        """The good replicas."""
        return self._readers

    @property
    def writers(self) -> tuple[LiveReplica, ...]:
        """The good replicas and those being built."""
        return self._writers

    def refresh(self) -> None:
        """Take note of changed states of the replicas."""
        self._changes += 1
        self._readers = tuple(replica for replica in self.replicas if replica.state == INSYNC)
        self._writers = tuple(replica for replica in self.replicas if replica.state in WRITTEN)
        self._missing = tuple(
            replica.missed
            for replica in self.replicas
            if replica.missed is not None and replica.state in LACKING
        )

    def mark_in_sync(self) -> None:
        """Only one replica is in use, so what it says is right."""
        for chunk in self.regions.to_resync():
            self.regions.set_resynced(chunk, written=True)
        self.unsynced = 0

    def find(self, dextid: int) -> LiveReplica | None:
        """Find a replica by its extent."""
        return next((replica for replica in self.replicas if replica.dextid == dextid), None)

    def lost(self, replica: LiveReplica, reason: str) -> None:
        """A replica's connection is gone."""
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid}: {reason}")
        if self._readers == (replica,):
            replica.reason = Reason.CONNECTION
            self._lost_writes = self._lost_writes or self._flushed < self.requests
            self._fail_building("the last good replica is out of reach")
            self._group.reconnect(
                replica, self.size, partial(self.lost, replica), partial(self.found, replica)
            )
        else:
            self.fail(replica, Reason.CONNECTION)

    def found(self, replica: LiveReplica) -> None:
        """The last good replica answers again."""
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid}: reached again")
        replica.reason = Reason.NONE
        self.refresh()
        if self.settlement.unsettled:
            self.settlement.begin()

    def fail(self, replica: LiveReplica, reason: Reason) -> None:
        """Take a replica out of use, unless it is the last good one."""
        if replica.state not in WRITTEN:
            return
        if self._readers == (replica,):
            self._report(f"the last good replica {replica.dextid} failed: {reason}")
            self._fail_building("the last good replica failed")
            return
        was = replica.state
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid} is out: {reason}")
        replica.state, replica.reason = FAULTY, reason
        if replica.missed is None:
            replica.missed = self._group.missed_chunks(replica.dextid, self.regions)
        replica.missed.add(self.regions.as_missing())
        self.refresh()
        # Before the connection is cut: that answers requests, which must not be acknowledged yet.
        if was == INSYNC:
            self.settlement.begin()
        else:
            self._group.save()
        replica.drop()

    async def mark(self, *, clean: bool) -> int:
        """Mark every good replica and fail those that do not take it; counts those that did."""
        events = self.settlement.events
        block = pack_mark(Mark(self._group.epoch, events, clean))
        asked = [
            (replica, io(replica, messages.WRITE, self.size, MARK_BYTES, block, messages.FUA))
            for replica in self._readers
        ]
        marked = 0
        for replica, reply in asked:
            error, _ = await reply
            if error:
                self.fail(replica, Reason.IO)
            else:
                replica.events = events
                marked += 1
        return marked

    def _fail_building(self, reason: str) -> None:
        for replica in self._writers:
            if replica.state == BUILDING:
                self._report(f"replica {replica.dextid} is not built any further: {reason}")
                self.fail(replica, Reason.IO)

    def _report(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last_event > EVENT_SECONDS:
            self._last_event = now
            self._group.log(f"mirror {self.mirrorid}: {text}")

    # -- requests of clients

    def write(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Write, trim or zero on all replicas."""
        ranges = self.ranges
        if ranges.busy and ranges.parks(
            offset, offset + length, partial(self.write, command, offset, length, data, flags, done)
        ):
            return
        before_write = self.before_write
        if before_write is not None and before_write(
            self, command, offset, length, data, flags, done
        ):
            return
        self.write_now(command, offset, length, data, flags, done)

    def write_now(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: messages.Done
    ) -> None:
        """Write without regard to ranges that are taken: for whoever has taken them."""
        ticket = self.requests = self.requests + 1
        self.in_flight[ticket] = (offset, length)
        self.regions.set_dirty(offset, length)
        for missed in self._missing:
            missed.add_range(offset, length)
        writers = self._writers
        write = _Write(ticket, offset, length, len(writers), self._changes, done)
        for replica in writers:
            device = (
                replica.connection or replica
            )  # mostly the former: one call less on the hot path
            device.submit(
                command, offset, length, data, flags, partial(self._landed, write, replica)
            )

    def _landed(self, write: _Write, replica: LiveReplica, error: int, _data: Any) -> None:
        if error:
            self.fail(replica, Reason.IO)
        elif replica.state == INSYNC:
            write.good.append(replica)
        write.left -= 1
        if write.left:
            return
        del self.in_flight[write.ticket]
        good = write.good
        if write.changes != self._changes:
            good = [replica for replica in good if replica.state == INSYNC]
        self.settlement.acknowledge(write.done, 0 if good else errno.EIO)
        if self.ranges.busy:
            self.ranges.landed(write.offset, write.offset + write.length)

    def read(self, offset: int, length: int, done: messages.Done) -> None:
        """Read from the least busy good replica; where they may differ, always from the first."""
        readers = self._readers
        replica = readers[0]
        if len(readers) > 1 and not (self.unsynced and self.regions.needs_resync(offset, length)):
            least = replica.under_way()
            for other in readers:
                under_way = other.under_way()
                if under_way < least:
                    replica, least = other, under_way
        replica.submit(
            messages.READ,
            offset,
            length,
            None,
            0,
            partial(self._has_read, replica, offset, length, done),
        )

    def _has_read(
        self,
        replica: LiveReplica,
        offset: int,
        length: int,
        done: messages.Done,
        error: int,
        data: Any,
    ) -> None:
        if not error:
            done(0, data)
            return
        self.fail(replica, Reason.IO)
        if replica.state == INSYNC:
            done(errno.EIO, None)
        else:
            self.read(offset, length, done)

    def status(self, offset: int, length: int, flags: int, done: messages.Done) -> None:
        """Tell holes from data on the first good replica."""
        self._readers[0].submit(messages.BLOCK_STATUS, offset, length, None, flags, done)

    def flush(self, done: messages.Done) -> None:
        """Make durable what was written before this moment."""
        if self._lost_writes:
            self._lost_writes = False
            done(errno.EIO, None)
        elif self._flushed >= self.requests:
            done(0 if self._readers[0].is_reachable() else errno.EIO, None)
        else:
            LoopTask(self._flush(done))

    async def _flush(self, done: messages.Done) -> None:
        before, changes = self.requests, self._changes
        good = await self.flush_replicas()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
        self.settlement.acknowledge(done, 0 if good else errno.EIO)

    async def flush_replicas(self) -> int:
        """Flush every replica in use and fail those that cannot; counts the good ones that did."""
        asked = [(replica, io(replica, messages.FLUSH, 0, 0)) for replica in self._writers]
        flushed: list[LiveReplica] = []
        for replica, reply in asked:
            error, _ = await reply
            if error:
                self.fail(replica, Reason.IO)
            else:
                flushed.append(replica)
        return sum(replica.state == INSYNC for replica in flushed)

    async def close(self) -> bool:
        """Flush what a clean end has to have flushed; False when no good replica could."""
        if self._flushed >= self.requests and not self._lost_writes:
            return True
        changes = self._changes
        return (
            bool(await self.flush_replicas()) and changes == self._changes and not self._lost_writes
        )

    async def clean_dirty(self) -> None:
        """Flush all replicas: what landed before that is equal on all, and dirty no more."""
        self.regions.begin_cleaning(list(self.in_flight.values()))
        before, changes = self.requests, self._changes
        good = await self.flush_replicas()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
            self.regions.end_cleaning()
