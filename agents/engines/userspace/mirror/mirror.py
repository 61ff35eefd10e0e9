"""One mirror: the same bytes on several copies, and what happens when one of them fails."""

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.engines.userspace.loop.tasks import Task, io
from agents.engines.userspace.mirror.intent import MirrorIntent, MissedChunks
from agents.engines.userspace.mirror.leg import (
    BUILDING,
    CONNECTION,
    FAULTY,
    INSYNC,
    IO,
    QUEUED,
    Leg,
)
from agents.engines.userspace.mirror.marks import MARK_BYTES, Mark, pack_mark
from agents.engines.userspace.mirror.range_locks import Ranges
from agents.engines.userspace.mirror.settlement import Settlement
from agents.engines.userspace.mirror.surroundings import Surroundings
from agents.engines.userspace.nbd import protocol

EVENT_SECONDS = 5.0

Guard = Callable[["Mirror", int, int, int, Any, int, protocol.Done], bool]


class _Write:
    """A write under way on the copies."""

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
        self.good: list[Leg] = []


class Mirror:
    """Writes go to every copy in use; one that fails a write is out before it is acknowledged.

    The last good copy is never failed: its errors go to the client, and its connection is the only
    one that is ever tried again, because nobody can know more than it.
    """

    def __init__(
        self, group: Surroundings, mirrorid: int, size: int, base: int, intent: MirrorIntent
    ) -> None:
        self.mirrorid = mirrorid
        self.size = size
        self.base = base
        self.intent = intent
        self.settlement = Settlement(partial(self.mark, clean=False), group.save)
        self.legs: list[Leg] = []
        self.doubts = 0
        self.guard: Guard | None = None
        self.requests = 0
        self.flying: dict[int, tuple[int, int]] = {}
        self.ranges = Ranges(self.flying)
        self._group = group
        self._readers: tuple[Leg, ...] = ()
        self._writers: tuple[Leg, ...] = ()
        self._behind: tuple[MissedChunks, ...] = ()
        self._changes = 0
        self._flushed = 0
        self._lost_writes = False
        self._last_event = 0.0

    # -- the copies

    @property
    def events(self) -> int:
        """The event count that the good copies are marked with."""
        return self.settlement.events

    @property
    def epoch(self) -> int:
        """The epoch that the copies are marked with."""
        return self._group.epoch

    @property
    def readers(self) -> tuple[Leg, ...]:
        """The good copies."""
        return self._readers

    @property
    def writers(self) -> tuple[Leg, ...]:
        """The good copies and those being built."""
        return self._writers

    @property
    def behind(self) -> bool:
        """Tell whether a copy is kept account of that lacks something."""
        return bool(self._behind)

    def refresh(self) -> None:
        """Take note of changed states of the copies."""
        self._changes += 1
        self._readers = tuple(leg for leg in self.legs if leg.state == INSYNC)
        self._writers = tuple(leg for leg in self.legs if leg.state in {INSYNC, BUILDING})
        self._behind = tuple(
            leg.missed
            for leg in self.legs
            if leg.missed is not None and leg.state in {FAULTY, QUEUED}
        )

    def believe(self) -> None:
        """Only one copy is in use, so what it says is right."""
        for chunk in self.intent.doubtful():
            self.intent.trust(chunk, written=True)
        self.doubts = 0

    def find(self, dextid: int) -> Leg | None:
        """Find a copy by its extent."""
        return next((leg for leg in self.legs if leg.dextid == dextid), None)

    def lost(self, leg: Leg, reason: str) -> None:
        """A copy's connection is gone."""
        self._group.log(f"mirror {self.mirrorid} copy {leg.dextid}: {reason}")
        if self._readers == (leg,):
            leg.why = CONNECTION
            self._lost_writes = self._lost_writes or self._flushed < self.requests
            self._fail_building("the last good copy is out of reach")
            self._group.reconnect(leg, self.size, partial(self.lost, leg), partial(self.found, leg))
        else:
            self.fail(leg, CONNECTION)

    def found(self, leg: Leg) -> None:
        """The last good copy answers again."""
        self._group.log(f"mirror {self.mirrorid} copy {leg.dextid}: reached again")
        leg.why = ""
        self.refresh()
        if self.settlement.unsettled:
            self.settlement.begin()

    def fail(self, leg: Leg, why: str) -> None:
        """Take a copy out of use, unless it is the last good one."""
        if leg.state not in {INSYNC, BUILDING}:
            return
        if self._readers == (leg,):
            self._report(f"the last good copy {leg.dextid} failed: {why}")
            self._fail_building("the last good copy failed")
            return
        was = leg.state
        self._group.log(f"mirror {self.mirrorid} copy {leg.dextid} is out: {why}")
        leg.state, leg.why = FAULTY, why
        if leg.missed is None:
            leg.missed = self._group.missed_chunks(leg.dextid, self.intent)
        leg.missed.add(self.intent.unsafe())
        self.refresh()
        # Before the connection is cut: that answers requests, which must not be acknowledged yet.
        if was == INSYNC:
            self.settlement.begin()
        else:
            self._group.save()
        leg.drop()

    async def mark(self, *, clean: bool) -> int:
        """Mark every good copy and fail those that do not take it; counts those that did."""
        events = self.settlement.events
        block = pack_mark(Mark(self._group.epoch, events, clean))
        asked = [
            (leg, io(leg, protocol.WRITE, self.size, MARK_BYTES, block, protocol.FUA))
            for leg in self._readers
        ]
        marked = 0
        for leg, reply in asked:
            error, _ = await reply
            if error:
                self.fail(leg, IO)
            else:
                leg.events = events
                marked += 1
        return marked

    def _fail_building(self, reason: str) -> None:
        for leg in self._writers:
            if leg.state == BUILDING:
                self._report(f"copy {leg.dextid} is not built any further: {reason}")
                self.fail(leg, IO)

    def _report(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last_event > EVENT_SECONDS:
            self._last_event = now
            self._group.log(f"mirror {self.mirrorid}: {text}")

    # -- requests of clients

    def write(
        self, command: int, offset: int, length: int, data: Any, flags: int, done: protocol.Done
    ) -> None:
        """Write, trim or zero on all copies."""
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
        for leg in writers:
            device = leg.remote or leg  # mostly the former: one call less on the hot path
            device.submit(command, offset, length, data, flags, partial(self._landed, write, leg))

    def _landed(self, write: _Write, leg: Leg, error: int, _data: Any) -> None:
        if error:
            self.fail(leg, IO)
        elif leg.state == INSYNC:
            write.good.append(leg)
        write.left -= 1
        if write.left:
            return
        del self.flying[write.ticket]
        good = write.good
        if write.changes != self._changes:
            good = [leg for leg in good if leg.state == INSYNC]
        self.settlement.acknowledge(write.done, 0 if good else errno.EIO)
        if self.ranges.busy:
            self.ranges.landed(write.offset, write.offset + write.length)

    def read(self, offset: int, length: int, done: protocol.Done) -> None:
        """Read from the least busy good copy; where copies may differ, always from the first."""
        readers = self._readers
        leg = readers[0]
        if len(readers) > 1 and not (self.doubts and self.intent.is_doubtful(offset, length)):
            least = leg.under_way()
            for other in readers:
                under_way = other.under_way()
                if under_way < least:
                    leg, least = other, under_way
        leg.submit(
            protocol.READ,
            offset,
            length,
            None,
            0,
            partial(self._has_read, leg, offset, length, done),
        )

    def _has_read(
        self, leg: Leg, offset: int, length: int, done: protocol.Done, error: int, data: Any
    ) -> None:
        if not error:
            done(0, data)
            return
        self.fail(leg, IO)
        if leg.state == INSYNC:
            done(errno.EIO, None)
        else:
            self.read(offset, length, done)

    def status(self, offset: int, length: int, flags: int, done: protocol.Done) -> None:
        """Tell holes from data on the first good copy."""
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
        good = await self.flush_copies()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
        self.settlement.acknowledge(done, 0 if good else errno.EIO)

    async def flush_copies(self) -> int:
        """Flush every copy in use and fail those that cannot; counts the good ones that did."""
        asked = [(leg, io(leg, protocol.FLUSH, 0, 0)) for leg in self._writers]
        flushed: list[Leg] = []
        for leg, reply in asked:
            error, _ = await reply
            if error:
                self.fail(leg, IO)
            else:
                flushed.append(leg)
        return sum(leg.state == INSYNC for leg in flushed)

    async def close(self) -> bool:
        """Flush what a clean end has to have flushed; False when no good copy could."""
        if self._flushed >= self.requests and not self._lost_writes:
            return True
        changes = self._changes
        return (
            bool(await self.flush_copies()) and changes == self._changes and not self._lost_writes
        )

    async def clean_intent(self) -> None:
        """Forget old intents: after a flush of all, what landed before it is equal on all."""
        self.intent.begin_cleaning(list(self.flying.values()))
        before, changes = self.requests, self._changes
        good = await self.flush_copies()
        if good and changes == self._changes:
            self._flushed = max(self._flushed, before)
            self.intent.end_cleaning()
