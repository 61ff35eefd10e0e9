"""A mirror of which no good replica can be reached: its requests wait until one is back."""

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from agents.engines.userspace.loop.coroutines import Future, LoopTask, io
from agents.engines.userspace.mirror.live_replica import INSYNC, LiveReplica
from agents.engines.userspace.mirror.mirror_owner import MirrorOwner
from agents.engines.userspace.mirror.mirror_write import MirrorWrite
from agents.engines.userspace.mirror.write_intent import DirtyRegions
from agents.engines.userspace.nbd import messages
from agents.ondisk import MARK_BYTES, unpack_mark
from agents.protocol import Reason

WITNESS_BYTES = 512


class WaitingMirror(Protocol):
    """What an outage needs of its mirror."""

    mirrorid: int
    size: int
    waiting: bool
    group: MirrorOwner
    regions: DirtyRegions

    @property
    def readers(self) -> tuple[LiveReplica, ...]:
        """The good replicas."""

    def lost(self, replica: LiveReplica, reason: str) -> None:
        """A replica's connection is gone."""

    def found(self, replica: LiveReplica) -> None:
        """A good replica answers again."""

    def fail(self, replica: LiveReplica, reason: Reason) -> None:
        """Take a replica out of use."""

    def fail_building(self, reason: str) -> None:
        """Leave behind what is being built."""

    def note_lost_writes(self) -> None:
        """What was written since the last flush may be lost."""

    def reached(self, *, uneven: bool) -> None:
        """Those that are good now can be reached."""

    def send(self, write: MirrorWrite) -> None:
        """Send a write once more."""

    def end_write(self, write: MirrorWrite, error: int) -> None:
        """Answer a write."""

    def note(self, text: str) -> None:
        """Write a line to the log."""


class Outage:
    """Decides what becomes of good replicas whose connections were lost, and holds requests.

    One is left behind on another's word only: a good replica has to answer after the loss. Where
    none does, all left together and nobody missed what others have: they are waited for. So are
    those that refuse this head, whoever else answers: it may have been fenced, and the other be
    served where the manager could not have it evicted.
    """

    def __init__(self, mirror: WaitingMirror) -> None:
        self.away: list[LiveReplica] = []
        self.began = 0.0
        self._mirror = mirror
        self._deciding = False
        self._over = False
        self._deadline = 0.0
        self._uneven = False
        self._evicted: set[LiveReplica] = set()
        self._trusted = False
        self._news = Future()
        self._held: list[MirrorWrite] = []
        self._parked: list[tuple[Callable[[], object], messages.Done]] = []

    @property
    def seconds(self) -> int:
        """For how long no good replica could be reached; 0 where one can."""
        return int(time.monotonic() - self.began) + 1 if self.began else 0

    @property
    def is_over(self) -> bool:
        """Tell whether no replica came back in time: requests have EIO until one is back."""
        return self._over

    # -- what waits

    def hold(self, write: MirrorWrite) -> None:
        """Keep a write until it is known on which replicas it has to be."""
        if self._over:
            self._give_up(write)
        else:
            self._held.append(write)

    def park(self, go: Callable[[], object], done: messages.Done) -> None:
        """Start a request once a replica is back; `done` has EIO if none is in time."""
        if self._over:
            done(errno.EIO, None)
        else:
            self._parked.append((go, done))

    def ended(self) -> Future:
        """Give a reply that comes once requests go on; EIO if none goes on in time."""
        ended = Future()
        if self._mirror.waiting:
            self.park(ended, ended)
        else:
            ended()
        return ended

    def end_waiting(self) -> None:
        """Answer all that waits with EIO, and what comes too, until a replica is back."""
        if not self.began or self._over:
            return
        self._over = True
        self._mirror.note("no replica came back in time: requests are answered with EIO")
        held, self._held = self._held, []
        parked, self._parked = self._parked, []
        for write in held:
            self._give_up(write)
        for _, done in parked:
            done(errno.EIO, None)

    def renew(self) -> None:
        """Wait anew: another mirror's replicas are back, so these may be on their way."""
        if self.began:
            self._over = False
            self._wait_from_now()

    def _give_up(self, write: MirrorWrite) -> None:
        # Some replicas may have it: they are made equal once they are back.
        self._uneven = self._uneven or write.short
        self._mirror.end_write(write, errno.EIO)

    def _wait_from_now(self) -> None:
        seconds = self._mirror.group.storage_wait
        self._deadline = time.monotonic() + seconds
        if seconds:
            self._mirror.group.after(seconds, self._look_at_clock)
        else:
            self.end_waiting()

    def _look_at_clock(self) -> None:
        if time.monotonic() >= self._deadline:
            self.end_waiting()

    # -- who is away

    def lost(self, replica: LiveReplica) -> None:
        """The connection to a good replica is gone."""
        self.away.append(replica)
        self._mirror.waiting = True
        if self.began:
            self._look_for(replica)
        if not self._deciding:
            self._deciding = True
            LoopTask(self._decide())

    def found(self, replica: LiveReplica) -> None:
        """A good replica answers again."""
        self.away.remove(replica)
        self._evicted.discard(replica)
        self._tell()

    def evicted(self, replica: LiveReplica) -> None:
        """The process that served a replica refuses it now: this head may have been fenced.

        Then others may write elsewhere by now, and whoever still answers us is no proof that they
        do not. Nothing goes on until the manager gives an order in this epoch.
        """
        if not self._trusted:
            self._evicted.add(replica)
            self.end_waiting()

    def trust(self) -> None:
        """The manager gives orders in this epoch: this head was not fenced."""
        self._trusted = bool(self.began)
        if self._evicted:
            self._evicted.clear()
            self.renew()
        self._tell()

    def _look_for(self, replica: LiveReplica) -> None:
        mirror = self._mirror
        mirror.group.reconnect(
            replica,
            mirror.size,
            partial(mirror.lost, replica),
            partial(mirror.found, replica),
            partial(self.evicted, replica),
        )

    def _tell(self) -> None:
        news, self._news = self._news, Future()
        news()

    # -- the decision

    async def _decide(self) -> None:
        mirror = self._mirror
        if not await self._is_witnessed():
            self.began = time.monotonic()
            mirror.note("no good replica can be relied on: requests wait")
            # Who orders builds has to know: it may be the one that can bring a good replica back.
            mirror.fail_building("no good replica can be reached")
            self._wait_from_now()
            for replica in self.away:
                self._look_for(replica)
            if self._evicted:
                self.end_waiting()
            while not await self._is_back():
                pass
            self._note_lost_writes()
        away, self.away = self.away, []
        for replica in away:
            mirror.fail(replica, Reason.CONNECTION)
        self._go_on()

    async def _is_witnessed(self) -> bool:
        """Tell whether a good replica answers after those that are away were lost.

        None does for a head that one of those refuses.
        """
        while asked := [one for one in self._mirror.readers if one not in self.away]:
            away = list(self.away)
            await self._ask_why(away)
            if self._evicted or not await _answers(asked):
                return False
            if away == self.away:
                return True
        return False

    async def _ask_why(self, away: list[LiveReplica]) -> None:
        """Ask those that hung up for the reason."""
        why_lost = self._mirror.group.why_lost
        for replica, reply in [(one, why_lost(one)) for one in away if one.has_hung_up()]:
            error, _ = await reply
            if error == errno.ESTALE:
                self._mirror.note(f"replica {replica.dextid} is not served to this head any more")
                self.evicted(replica)

    async def _is_back(self) -> bool:
        """Wait for one, a little longer for all that left with it, and look at what came back."""
        mirror = self._mirror
        while len(self.away) == len(mirror.readers) or self._evicted:
            await self._news
        timeout = mirror.group.timeout
        mirror.group.after(timeout, self._tell)
        end = time.monotonic() + timeout
        while self.away and time.monotonic() < end:
            await self._news
        for replica in [one for one in mirror.readers if one not in self.away]:
            await self._recognise(replica)
        return len(self.away) < len(mirror.readers) and not self._evicted

    async def _recognise(self, replica: LiveReplica) -> None:
        """Take one that came back as an older image of itself for none."""
        error, block = await io(replica, messages.READ, self._mirror.size, MARK_BYTES)
        if replica in self.away or (not error and unpack_mark(block).events >= replica.events):
            return
        self._mirror.note(f"replica {replica.dextid} came back without its mark")
        replica.drop()
        self.lost(replica)

    def _note_lost_writes(self) -> None:
        """A server that was started anew may have lost what was not flushed."""
        mirror = self._mirror
        back = [one for one in mirror.readers if one not in self.away]
        restarted = [one for one in back if one.is_served_anew()]
        if not restarted or not mirror.regions.is_dirty:
            return
        if len(restarted) < len(back):
            self.away += restarted
        else:
            self._uneven = True
            mirror.note_lost_writes()

    def _go_on(self) -> None:
        mirror = self._mirror
        was_out, self.began = bool(self.began), 0.0
        self._deciding = self._over = self._trusted = mirror.waiting = False
        uneven, self._uneven = self._uneven, False
        for replica in mirror.readers:
            replica.note_instance()
        mirror.reached(uneven=uneven)
        held, self._held = sorted(self._held, key=lambda write: write.ticket), []
        parked, self._parked = self._parked, []
        for write in held:
            mirror.send(write)
        for go, _ in parked:
            go()
        if was_out:
            mirror.note("a replica is back: requests go on")
            mirror.group.reached(mirror.mirrorid)


async def _answers(replicas: list[LiveReplica]) -> bool:
    """Tell, as soon as one does, whether one of these answers."""
    answered = Future()
    left = len(replicas)

    def heard(replica: LiveReplica, error: int, _data: object) -> None:
        nonlocal left
        left -= 1
        if not answered.arrived and not (error and left):
            answered(0, not error and replica.state == INSYNC)

    for replica in replicas:
        replica.submit(messages.READ, 0, WITNESS_BYTES, None, 0, partial(heard, replica))
    _, is_one = await answered
    return bool(is_one)
