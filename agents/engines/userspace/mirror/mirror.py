"""One mirror: the same bytes on several replicas, and what happens when one of them fails."""

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.tasks import Task, io
from agents.engines.userspace.mirror.intent import MirrorIntent, MissedChunks
from agents.engines.userspace.mirror.range_locks import Ranges
from agents.engines.userspace.mirror.replica import (
    BUILDING,
    CONNECTION,
    FAULTY,
    INSYNC,
    IO,
    QUEUED,
    Replica,
)
from agents.engines.userspace.mirror.settlement import Settlement
from agents.engines.userspace.mirror.surroundings import Surroundings
from agents.engines.userspace.nbd import protocol
from agents.ondisk import MARK_BYTES, Mark, pack_mark

EVENT_SECONDS = 5.0

Guard = Callable[["Mirror", int, int, int, Any, int, protocol.Done], bool]


class _Write:
    """A write under way on the replicas."""

    __slots__ = ("changes", "done", "good", "left", "length", "offset", "ticket")

    def __init__(
        self, ticket: int, offset: int, length: int, left: int, changes: int, done: protocol.Done
    ) -> None:
        self.ticket = ticket
        self.offset = offset
        self.length = length
        self.left = left
        self.changes = changes
        self.done = done
        self.good: list[Replica] = []


class Mirror:
    """Writes go to every replica in use; one that fails a write is out before it is acknowledged.

    The last good replica is never failed: its errors go to the client, and its connection is the
    only one that is ever tried again, because nobody can know more than it.
    """

    def __init__(
        self, group: Surroundings, mirrorid: int, size: int, base: int, intent: MirrorIntent
    ) -> None:
        self.mirrorid = mirrorid
        self.size = size
        self.base = base
        self.intent = intent
        self.settlement = Settlement(partial(self.mark, clean=False), group.save)
        self.replicas: list[Replica] = []
        self.doubts = 0
        self.guard: Guard | None = None
        self.requests = 0
        self.flying: dict[int, tuple[int, int]] = {}
        self.ranges = Ranges(self.flying)
        self._group = group
        self._readers: tuple[Replica, ...] = ()
        self._writers: tuple[Replica, ...] = ()
        self._behind: tuple[MissedChunks, ...] = ()
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
    def readers(self) -> tuple[Replica, ...]:
        """The good replicas."""
        return self._readers

    @property
    def writers(self) -> tuple[Replica, ...]:
        """The good replicas and those being built."""
        return self._writers

    @property
    def behind(self) -> bool:
        """Tell whether a replica is kept account of that lacks something."""
        return bool(self._behind)

    def refresh(self) -> None:
        """Take note of changed states of the replicas."""
        self._changes += 1
        self._readers = tuple(replica for replica in self.replicas if replica.state == INSYNC)
        self._writers = tuple(
            replica for replica in self.replicas if replica.state in {INSYNC, BUILDING}
        )
        self._behind = tuple(
            replica.missed
            for replica in self.replicas
            if replica.missed is not None and replica.state in {FAULTY, QUEUED}
        )

    def mark_in_sync(self) -> None:
        """Only one replica is in use, so what it says is right."""
        for chunk in self.intent.doubtful():
            self.intent.trust(chunk, written=True)
        self.doubts = 0

    def find(self, dextid: int) -> Replica | None:
        """Find a replica by its extent."""
        return next((replica for replica in self.replicas if replica.dextid == dextid), None)

    def lost(self, replica: Replica, reason: str) -> None:
        """A replica's connection is gone."""
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid}: {reason}")
        if self._readers == (replica,):
            replica.why = CONNECTION
            self._lost_writes = self._lost_writes or self._flushed < self.requests
            self._fail_building("the last good replica is out of reach")
            self._group.reconnect(
                replica, self.size, partial(self.lost, replica), partial(self.found, replica)
            )
        else:
            self.fail(replica, CONNECTION)

    def found(self, replica: Replica) -> None:
        """The last good replica answers again."""
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid}: reached again")
        replica.why = ""
        self.refresh()
        if self.settlement.unsettled:
            self.settlement.begin()

    def fail(self, replica: Replica, why: str) -> None:
        """Take a replica out of use, unless it is the last good one."""
        if replica.state not in {INSYNC, BUILDING}:
            return
        if self._readers == (replica,):
            self._report(f"the last good replica {replica.dextid} failed: {why}")
            self._fail_building("the last good replica failed")
            return
        was = replica.state
        self._group.log(f"mirror {self.mirrorid} replica {replica.dextid} is out: {why}")
        replica.state, replica.why = FAULTY, why
        if replica.missed is None:
            replica.missed = self._group.missed_chunks(replica.dextid, self.intent)
        replica.missed.add(self.intent.unsafe())
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
            (replica, io(replica, protocol.WRITE, self.size, MARK_BYTES, block, protocol.FUA))
            for replica in self._readers
        ]
        marked = 0
        for replica, reply in asked:
            error, _ = await reply
            if error:
                self.fail(replica, IO)
            else:
                replica.events = events
                marked += 1
        return marked

    def _fail_building(self, reason: str) -> None:
        for replica in self._writers:
            if replica.state == BUILDING:
                self._report(f"replica {replica.dextid} is not built any further: {reason}")
                self.fail(replica, IO)

    def _report(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last_event > EVENT_SECONDS:
            self._last_event = now
            self._group.log(f"mirror {self.mirrorid}: {text}")

    # -- requests of clients

    def write(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: protocol.Done
    ) -> None:
        """Write, trim or zero on all replicas."""
        ranges = self.ranges
        if ranges.busy and ranges.parks(
            offset, offset + length, partial(self.write, command, offset, length, data, flags, done)
        ):
            return
        guard = self.guard
        if guard is not None and guard(self, command, offset, length, data, flags, done):
            return
        self.write_now(command, offset, length, data, flags, done)

    def write_now(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: protocol.Done
    ) -> None:
        """Write without regard to ranges that are taken: for whoever has taken them."""
        ticket = self.requests = self.requests + 1
        self.flying[ticket] = (offset, length)
        self.intent.touch(offset, length)
        for missed in self._behind:
            missed.touch(offset, length)
        writers = self._writers
        write = _Write(ticket, offset, length, len(writers), self._changes, done)
        for replica in writers:
            device = replica.remote or replica  # mostly the former: one call less on the hot path
            device.submit(
                command, offset, length, data, flags, partial(self._landed, write, replica)
            )

    def _landed(self, write: _Write, replica: Replica, error: int, _data: Any) -> None:
        if error:
            self.fail(replica, IO)
        elif replica.state == INSYNC:
            write.good.append(replica)
        write.left -= 1
        if write.left:
            return
        del self.flying[write.ticket]
        good = write.good
        if write.changes != self._changes:
            good = [replica for replica in good if replica.state == INSYNC]
        self.settlement.acknowledge(write.done, 0 if good else errno.EIO)
        if self.ranges.busy:
            self.ranges.landed(write.offset, write.offset + write.length)

    def read(self, offset: int, length: int, done: protocol.Done) -> None:
        """Read from the least busy good replica; where they may differ, always from the first."""
        readers = self._readers
        replica = readers[0]
        if len(readers) > 1 and not (self.doubts and self.intent.is_doubtful(offset, length)):
            least = replica.under_way()
            for other in readers:
                under_way = other.under_way()
                if under_way < least:
                    replica, least = other, under_way
        replica.submit(
            protocol.READ,
            offset,
            length,
            None,
            0,
            partial(self._has_read, replica, offset, length, done),
        )

    def _has_read(
        self, replica: Replica, offset: int, length: int, done: protocol.Done, error: int, data: Any
    ) -> None:
        if not error:
            done(0, data)
            return
        self.fail(replica, IO)
        if replica.state == INSYNC:
            done(errno.EIO, None)
        else:
            self.read(offset, length, done)

    def status(self, offset: int, length: int, flags: int, done: protocol.Done) -> None:
        """Tell holes from data on the first good replica."""
        self._readers[0].submit(protocol.BLOCK_STATUS, offset, length, None, flags, done)

    def flush(self, done: protocol.Done) -> None:
        """Make durable what was written before this moment."""
        if self._lost_writes:
            self._lost_writes = False
            done(errno.EIO, None)
        elif self._flushed >= self.requests:
            done(0 if self._readers[0].is_reachable() else errno.EIO, None)
        else:
            Task(self._flush(done))

    async def _flush(self, done: protocol.Done) -> None:
        before, changes = self.requests, self._changes
        good = await self.flush_replicas()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
        self.settlement.acknowledge(done, 0 if good else errno.EIO)

    async def flush_replicas(self) -> int:
        """Flush every replica in use and fail those that cannot; counts the good ones that did."""
        asked = [(replica, io(replica, protocol.FLUSH, 0, 0)) for replica in self._writers]
        flushed: list[Replica] = []
        for replica, reply in asked:
            error, _ = await reply
            if error:
                self.fail(replica, IO)
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

    async def clean_intent(self) -> None:
        """Forget old intents: after a flush of all, what landed before it is equal on all."""
        self.intent.begin_cleaning(list(self.flying.values()))
        before, changes = self.requests, self._changes
        good = await self.flush_replicas()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
            self.intent.end_cleaning()
