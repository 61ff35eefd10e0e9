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
from agents.engines.userspace.mirror.mirror_write import MirrorWrite
from agents.engines.userspace.mirror.outage import Outage
from agents.engines.userspace.mirror.range_locks import RangeLocks
from agents.engines.userspace.mirror.settlement import Settlement
from agents.engines.userspace.mirror.write_intent import DirtyRegions
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.client_connection import LOST
from agents.ondisk import MARK_BYTES, Mark, pack_mark
from agents.protocol import Reason

if TYPE_CHECKING:
    from agents.engines.userspace.mirror.missed_chunks import MissedChunks

EVENT_SECONDS = 5.0

BeforeWrite = Callable[["LiveMirror", int, int, int, Any, int, messages.Done], bool]


class LiveMirror:
    """Writes go to every replica in use; one that fails a write is out before it is acknowledged.

    The last good replica is never failed: its errors go to the client. Nor are those that left
    together: requests wait for them (`outage`), because nobody can know more than they.
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
        self.waiting = False
        self.group = group
        self.outage = Outage(self)
        self.in_flight: dict[int, tuple[int, int]] = {}
        self.ranges = RangeLocks(self.in_flight)
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
        return self.group.epoch

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
        if replica.is_reachable():
            return  # it has another one since
        self.group.log(f"mirror {self.mirrorid} replica {replica.dextid}: {reason}")
        if replica.state == INSYNC:
            replica.reason = Reason.CONNECTION
            self.outage.lost(replica)
        else:
            self.fail(replica, Reason.CONNECTION)

    def found(self, replica: LiveReplica) -> None:
        """A good replica answers again."""
        self.group.log(f"mirror {self.mirrorid} replica {replica.dextid}: reached again")
        replica.reason = Reason.NONE
        self.outage.found(replica)

    def reached(self, *, uneven: bool) -> None:
        """Those that are good now can be reached; `uneven`: they may differ where it is dirty."""
        self.refresh()
        if uneven:
            self.unsynced = self.regions.resync_dirty()
        if self.settlement.unsettled:
            self.settlement.begin()

    def note_lost_writes(self) -> None:
        """What was written since the last flush may be lost: the next flush has to say so."""
        self._lost_writes = self._lost_writes or self._flushed < self.requests

    def is_undecided(self, replica: LiveReplica, error: int) -> bool:
        """Take the error of a request; True if it is to be done again, for nobody knows yet."""
        if error == LOST and replica.state == INSYNC:
            return True
        self.fail(replica, Reason.IO)
        return False

    def fail(self, replica: LiveReplica, reason: Reason) -> None:
        """Take a replica out of use, unless it is the last good one."""
        if replica.state not in WRITTEN:
            return
        was = replica.state
        if was == INSYNC and all(one in {replica, *self.outage.away} for one in self._readers):
            self._report(f"the last good replica {replica.dextid} failed: {reason}")
            self.fail_building("the last good replica failed")
            return
        self.group.log(f"mirror {self.mirrorid} replica {replica.dextid} is out: {reason}")
        replica.state, replica.reason = FAULTY, reason
        if replica.missed is None:
            replica.missed = self.group.missed_chunks(replica.dextid, self.regions)
        replica.missed.add(self.regions.as_missing())
        self.refresh()
        # Before the connection is cut: that answers requests, which must not be acknowledged yet.
        if was == INSYNC:
            self.settlement.begin()
        else:
            self.group.save()
        replica.drop()

    async def mark(self, *, clean: bool) -> int:
        """Mark every good replica and fail those that do not take it; counts those that did."""
        while not (await self.outage.ended())[0]:
            events = self.settlement.events
            block = pack_mark(Mark(self.group.epoch, events, clean))
            asked = [
                (replica, io(replica, messages.WRITE, self.size, MARK_BYTES, block, messages.FUA))
                for replica in self._readers
            ]
            marked, again = 0, False
            for replica, reply in asked:
                error, _ = await reply
                if error:
                    again = self.is_undecided(replica, error) or again
                else:
                    replica.events = events
                    marked += 1
            if not again:
                return marked
        return 0

    def fail_building(self, reason: str) -> None:
        """Leave behind what is being built: it may have writes that no good replica has."""
        for replica in self._writers:
            if replica.state == BUILDING:
                self._report(f"replica {replica.dextid} is not built any further: {reason}")
                self.fail(replica, Reason.IO)

    def _report(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last_event > EVENT_SECONDS:
            self._last_event = now
            self.note(text)

    def note(self, text: str) -> None:
        """Write a line about this mirror to the process's log."""
        self.group.log(f"mirror {self.mirrorid}: {text}")

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
        write = MirrorWrite(ticket, command, offset, length, data, flags, done)
        if self.waiting:
            self.outage.hold(write)
        else:
            self.send(write)

    def send(self, write: MirrorWrite) -> None:
        """Send a write, perhaps once more, to all replicas in use."""
        offset, length = write.offset, write.length
        self.regions.set_dirty(offset, length)
        for missed in self._missing:
            missed.add_range(offset, length)
        writers = self._writers
        write.left, write.changes = len(writers), self._changes
        for replica in writers:
            device = (
                replica.connection or replica
            )  # mostly the former: one call less on the hot path
            device.submit(
                write.command,
                offset,
                length,
                write.data,
                write.flags,
                partial(self._landed, write, replica),
            )

    def _landed(self, write: MirrorWrite, replica: LiveReplica, error: int, _data: Any) -> None:
        if error:
            write.short = self.is_undecided(replica, error) or write.short
        elif replica.state == INSYNC:
            write.good.append(replica)
        write.left -= 1
        if write.left or (write.short and self._goes_again(write)):
            return
        good = write.good
        if write.changes != self._changes:
            good = [replica for replica in good if replica.state == INSYNC]
        self.end_write(write, 0 if good else errno.EIO)

    def _goes_again(self, write: MirrorWrite) -> bool:
        """Once more, to all, unless every good replica has it: the connection to one was lost."""
        if self.waiting:
            write.good.clear()
            self.outage.hold(write)
        elif all(replica in write.good for replica in self._readers):
            return False
        else:
            write.good.clear()
            write.short = False
            self.send(write)
        return True

    def end_write(self, write: MirrorWrite, error: int) -> None:
        """Answer a write, and let go on who waited for its range."""
        del self.in_flight[write.ticket]
        self.settlement.acknowledge(write.done, error)
        if self.ranges.busy:
            self.ranges.landed(write.offset, write.offset + write.length)

    def read(self, offset: int, length: int, done: messages.Done) -> None:
        """Read from the least busy good replica; where they may differ, always from the first."""
        if self.waiting:
            self.outage.park(partial(self.read, offset, length, done), done)
            return
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
        if not self.is_undecided(replica, error) and replica.state == INSYNC:
            done(errno.EIO, None)
        else:
            self.read(offset, length, done)

    def status(self, offset: int, length: int, flags: int, done: messages.Done) -> None:
        """Tell holes from data on the first good replica."""
        again = partial(self.status, offset, length, flags, done)
        if self.waiting:
            self.outage.park(again, done)
            return

        def told(error: int, data: Any) -> None:
            if error == LOST:
                again()
            else:
                done(error, data)

        self._readers[0].submit(messages.BLOCK_STATUS, offset, length, None, flags, told)

    def flush(self, done: messages.Done) -> None:
        """Make durable what was written before this moment."""
        if self.waiting:
            self.outage.park(partial(self.flush, done), done)
        elif self._lost_writes:
            self._lost_writes = False
            done(errno.EIO, None)
        elif self._flushed >= self.requests:
            done(0 if self._readers[0].is_reachable() else errno.EIO, None)
        else:
            LoopTask(self._flush(done))

    async def _flush(self, done: messages.Done) -> None:
        before, changes = self.requests, self._changes
        good = await self.flush_replicas()
        if good and self._lost_writes:
            self._lost_writes, good = False, 0
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
        self.settlement.acknowledge(done, 0 if good else errno.EIO)

    async def flush_replicas(self) -> int:
        """Flush every replica in use and fail those that cannot; counts the good ones that did."""
        while not (await self.outage.ended())[0]:
            asked = [(replica, io(replica, messages.FLUSH, 0, 0)) for replica in self._writers]
            flushed: list[LiveReplica] = []
            again = False
            for replica, reply in asked:
                error, _ = await reply
                if error:
                    again = self.is_undecided(replica, error) or again
                else:
                    flushed.append(replica)
            if not again:
                return sum(replica.state == INSYNC for replica in flushed)
        return 0

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
