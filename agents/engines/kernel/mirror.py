"""A mirror on its head: replicas over the network, the array of them, and who is left behind.

md moves the bytes; who is good is said here, by the rules of the embedded engine. A replica is left
behind in this order: the marks of the others, the state file, then md and the requests that wait.
So what is acknowledged without it is known to be newer, whatever happens next.
"""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import iscsi_names, verification
from agents.engines.kernel.arrays import Array, ArrayMember
from agents.engines.kernel.initiator import Unit
from agents.engines.kernel.kernel_state import Overview
from agents.engines.kernel.meanwhile import meanwhile
from agents.engines.kernel.missed_writes import MissedWrites
from agents.engines.kernel.probes import Evicted, Servers
from agents.engines.kernel.replica_device import Seen
from agents.engines.kernel.replica_set import ReplicaSet
from agents.engines.userspace.head.state_file import SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import BUILDING, FAULTY, INSYNC
from agents.ondisk import MIB
from agents.protocol import Reason, ReplicaDigests, ReplicaSpec, VerifyOrder

logger = logging.getLogger(__name__)

BROKEN_SECONDS = 3.0
"""For which a path fails again and again that its session says is there."""
CALM_SECONDS = 60.0
"""After which a mirror to which nothing happened is looked at all the same."""

Units = Mapping[str, tuple[Unit, ...]]


class KernelMirror:
    """One mirror of a group, which calls `save` to have its state on this head's disk.

    It `is_lost` while no good replica of it can be reached: requests wait.
    """

    def __init__(
        self,
        group: tuple[int, int],
        saved: SavedMirror,
        folder: Path,
        servers: Servers,
        save: Callable[[], object],
    ) -> None:
        self._lvolid, self._epoch = group
        self._servers = servers
        self._save = save
        self._size_gb = saved.size_gb
        self._dirty = saved.dirty
        self._replaces: dict[int, int] = {}
        self._failing: dict[int, float] = {}
        self._looked: object = None
        self._again = 0.0
        self.is_lost = False
        self.mirrorid = saved.mirrorid
        self.replicas = ReplicaSet(self._epoch, saved)
        self.size = self.replicas.size
        self.array = Array(iscsi_names.array(saved.mirrorid))
        path = folder / f"bitmap-{saved.mirrorid:08x}"
        self._missed = MissedWrites(self.array, self.replicas, path)

    def saved(self) -> SavedMirror:
        """Tell its state as it is kept."""
        dirty = self.array.is_there and not self.array.is_equal
        now = self.replicas_now()
        return SavedMirror(self.mirrorid, self._size_gb, self.replicas.events, dirty, now)

    def replicas_now(self) -> tuple[SavedReplica, ...]:
        """Tell its replicas, and how far they are built."""
        return tuple(self._with_progress(one) for one in list(self.replicas.all.values()))

    def serial(self, dextid: int) -> str:
        """Tell the serial number of a replica's unit."""
        return iscsi_names.serial(dextid, self._lvolid, self._epoch)

    # -- the beginning and the end

    def connect(self, units: Units) -> None:
        """Make the devices of the good replicas; those that have no path are left behind."""
        for one in self.replicas.good:
            paths = [unit.number for unit in units.get(self.serial(one.dextid), ())]
            if paths:
                self.replicas.device(one.dextid).make(paths)
                self.replicas.put(one.dextid, INSYNC, Reason.NONE)
            else:
                self.replicas.put(one.dextid, FAULTY, Reason.CONNECTION)
        if not self.replicas.good:
            raise EngineError(
                errno.EHOSTUNREACH, f"mirror {self.mirrorid}: no good replica can be reached"
            )

    def assemble(self, *, revived: bool, rate: int) -> None:
        """Run the array of the replicas that are connected, each with this epoch's mark."""
        examine = self._dirty or revived
        if examine:
            self.replicas.exclude_stale()
        self.replicas.settle()
        good = [self.replicas.member(one.dextid) for one in self.replicas.good]
        self.array.assemble(good, self.size, equal=not examine or len(good) == 1)
        self.array.limit(rate)
        self._missed.begin()

    def close(self) -> bool:
        """End it, and mark the replicas as closed cleanly; False if they may differ."""
        equal = not self.array.is_there or (self.array.is_equal and not self.array.is_waiting())
        meanwhile(self.array.stop, self._let_lost_fail)
        if equal:
            self.replicas.close()
        self.replicas.remove_devices()
        return equal

    def go_on(self) -> None:
        """Have md answer what waits for the failure of a member, none of which works any more.

        It may have to be told more than once: each member fails by itself.
        """
        try:
            if self.array.is_there and self.array.is_waiting():
                self.array.acknowledge_all()
        except (EngineError, OSError) as error:
            logger.warning("mirror %d: %s", self.mirrorid, error)

    def break_off(self) -> None:
        """End it, whose devices are broken off and which nobody uses any more."""
        self.replicas.break_devices()
        self.go_on()
        self.array.stop()
        self.replicas.remove_devices()

    # -- what is asked for

    def build(self, spec: ReplicaSpec, replaces: int, units: Units) -> None:
        """Begin to build a replica; one that is in sync or being built goes on."""
        known = self.replicas.all.get(spec.dextid)
        if known is not None and known.state != FAULTY:
            self._replaces[spec.dextid] = replaces
            return
        paths = [unit.number for unit in units.get(self.serial(spec.dextid), ())]
        if not paths:
            raise EngineError(errno.EHOSTUNREACH, f"replica {spec.dextid} cannot be reached")
        self._take_out(spec.dextid)
        member = self.replicas.device(spec.dextid).make(paths)
        self.replicas.all[spec.dextid] = SavedReplica(
            spec.dextid, spec.addresses, spec.port, spec.export, BUILDING
        )
        self._replaces[spec.dextid] = replaces
        self._save()
        caught_up = self._missed.take(spec.dextid)
        meanwhile(
            lambda: self.array.build(member, self.size, caught_up=caught_up), self._let_some_fail
        )

    def _let_some_fail(self) -> None:
        """Let md end its copying, which waits for a replica whose paths just went, if one did.

        Whoever wrote waits on: md answers them once the failure is acknowledged. Where no good one
        is within reach all wait.
        """
        if not all(self.replicas.device(one.dextid).is_lost for one in self.replicas.good):
            self._let_lost_fail()

    def _let_lost_fail(self) -> None:
        for one in self.replicas.used:
            device = self.replicas.device(one.dextid)
            if device.find() is not None and device.is_lost:
                device.let_fail()

    def cancel(self, dextid: int) -> None:
        """Stop building a replica."""
        one = self.replicas.all.get(dextid)
        if one is not None and one.state == BUILDING:
            self.replicas.put(dextid, FAULTY, Reason.ASKED)
            self._save()
            self._take_out(dextid)
            self.array.shrink()

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Compare blocks of the good replicas while no write to them is in flight."""
        start, length = verification.span(order, self.size)
        if not self.array.is_equal:
            raise EngineError(errno.EAGAIN, "the replicas are being made equal after a crash")
        devices = {one.dextid: self.replicas.device(one.dextid) for one in self.replicas.good}
        self.array.hold(start, start + length)
        try:
            return verification.verify(order, devices, start, length)
        finally:
            self.array.release()

    # -- what happens meanwhile

    def wants_look(self, seen: Overview, *, at_leisure: bool) -> bool:
        """Tell whether something happened since the last look, or there is time for one."""
        if self._signature(seen) != self._looked:
            return True
        return at_leisure and time.monotonic() > self._again

    def flush_soon(self, seen: Overview) -> Callable[[], None] | None:
        """Tell how to bring what was written to stable storage, if that is to be done now."""
        wants = self._missed.wants_flush(seen.written.get(self.array.name, ""))
        return self._missed.flush if wants else None

    def look_again(self, seen: Overview) -> None:
        """Look; soon again if something is under way that nobody will tell."""
        self._looked, self._again = self._signature(seen), 0.0
        if self.look():
            self._again = time.monotonic() + CALM_SECONDS

    def _signature(self, seen: Overview) -> object:
        """What is another one when something has happened that a look would notice."""
        devices = tuple(seen.devices.get(self.replicas.name(one)) for one in [*self.replicas.all])
        sessions = seen.sessions.get(iscsi_names.target(self._lvolid, self._epoch))
        return seen.arrays.get(self.array.name), devices, sessions

    def look(self) -> bool:
        """Notice replicas that failed, paths that are back, and copies that are whole.

        True where all is as it is to stay.
        """
        if self.array.is_held:  # by an agent that ended while it compared blocks
            self.array.release()
        self._missed.begin()
        members = self.array.members()
        self._forget(self._left_halfway(members))
        if self.array.is_waiting() and ArrayMember.FAULTY not in members.values():
            self.array.acknowledge(())  # md does so, too, when it has copied
        lost: dict[int, Reason] = {}
        calm = True
        for one in self.replicas.used:
            member = members.get(self.replicas.node(one.dextid))
            seen = self.replicas.device(one.dextid).look()
            broken = self._is_broken(one.dextid, seen)
            calm = calm and one.state == INSYNC and not (seen.lost or seen.fails or seen.moves)
            if member is ArrayMember.FAULTY or member is None or broken:
                lost[one.dextid] = Reason.IO
            elif seen.lost:
                lost[one.dextid] = Reason.CONNECTION
            elif one.state == BUILDING and member is ArrayMember.IN_SYNC:
                self._finish(one.dextid)
        self.is_lost = all(one.dextid in lost for one in self.replicas.good)
        if lost:
            self._consider(lost)
        return calm and not lost and self._missed.is_begun

    def _left_halfway(self, members: Mapping[str, ArrayMember]) -> list[int]:
        """Name those that are noted as left behind, of which md was not told: who did that ended.

        md may hold requests back for them, which nobody else would let go.
        """
        faulty = [dextid for dextid, one in self.replicas.all.items() if one.state == FAULTY]
        known = {dextid: members.get(self.replicas.node(dextid)) for dextid in faulty}
        inside = {dextid for dextid, member in known.items() if member is not None}
        if inside and self.array.is_waiting():
            return sorted(inside)
        return sorted(dextid for dextid in inside if known[dextid] is not ArrayMember.FAULTY)

    def _is_broken(self, dextid: int, seen: Seen) -> bool:
        """Tell whether a replica cannot be read though its server answers: its disk is broken.

        The device takes that for the failure of one path after the other, and would try for ever.
        """
        if not seen.fails or seen.lost:
            self._failing.pop(dextid, None)
            return False
        since = self._failing.setdefault(dextid, time.monotonic())
        return time.monotonic() > since + BROKEN_SECONDS

    def _consider(self, lost: dict[int, Reason]) -> None:
        """Leave replicas behind, if another one is there: nobody missed what nobody has.

        Evicted where a server says that it serves a good one no more: this head may be fenced, and
        then what another one says proves nothing.
        """
        for one in self.replicas.good:
            if one.dextid in lost and self._servers.has_evicted(one):
                raise Evicted(
                    errno.ESTALE, f"replica {one.dextid}: its server does not serve it any more"
                )
        if not self.is_lost:
            self._leave_behind(lost)

    def _leave_behind(self, lost: Mapping[int, Reason]) -> None:
        before = dict(self.replicas.all)
        for dextid, reason in lost.items():
            logger.warning(
                "mirror %d: replica %d is left behind: %s", self.mirrorid, dextid, reason
            )
            self.replicas.put(dextid, FAULTY, reason)
        self._commit(before)

    def _finish(self, dextid: int) -> None:
        """Count a replica as good that md has copied; the one that it replaces goes."""
        before = dict(self.replicas.all)
        replaced = self._replaces.get(dextid, dextid)
        if goes := replaced != dextid and replaced in before:
            self.replicas.put(replaced, FAULTY, Reason.ASKED)
        self.replicas.put(dextid, INSYNC, Reason.NONE)
        self._commit(before)
        self._replaces.pop(dextid, None)
        if goes:
            self._missed.take(replaced)
            self._take_out(replaced)
            del self.replicas.all[replaced]
            self._save()
        self.array.shrink()

    def _commit(self, before: dict[int, SavedReplica]) -> None:
        """Have the marks say who is good, then the state file, and only then md."""
        try:
            self.replicas.settle()
        except EngineError:
            self.replicas.all = before  # nobody was told; md and all who wait go on waiting
            raise
        faulty = [dextid for dextid, one in self.replicas.all.items() if one.state == FAULTY]
        left = [dextid for dextid in faulty if before[dextid].state != FAULTY]
        for dextid in left:
            self._replaces.pop(dextid, None)
        self._missed.trace(dextid for dextid in left if before[dextid].state == INSYNC)
        self._save()
        self._forget(left)

    def _forget(self, dextids: Iterable[int]) -> None:
        """Have md go on without these, once all know that they are behind."""
        nodes = {dextid: self.replicas.node(dextid) for dextid in dextids}
        if not nodes:
            return
        members = self.array.members()
        for dextid, node in nodes.items():
            if members.get(node, ArrayMember.FAULTY) is not ArrayMember.FAULTY:
                self.array.fail(node)
            self.replicas.device(dextid).let_fail()
        self.array.acknowledge(nodes.values())

    def _take_out(self, dextid: int) -> None:
        """Take a replica out of the array, and its device away."""
        device, node = self.replicas.device(dextid), self.replicas.node(dextid)
        if device.find() is None:
            return
        if node in self.array.members():
            self.array.fail(node)
            device.break_off()
            self.array.acknowledge([node])
            self.array.drop(node)
        device.remove()

    def _with_progress(self, one: SavedReplica) -> SavedReplica:
        copying = self.array.copying() if one.state == BUILDING else None
        if copying is None:
            return one
        return replace(one, done_mib=copying.done // MIB, total_mib=copying.total // MIB)
