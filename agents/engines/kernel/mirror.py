"""A mirror on its head: replicas over the network, the array of them, and who is left behind.

md moves the bytes; who is good is said here, by the rules of the embedded engine. A replica is left
behind in this order: the marks of the others, the state file, then md and the requests that wait.
So what is acknowledged without it is known to be newer, whatever happens next.
"""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import bitmap, names, verification
from agents.engines.kernel.arrays import Array, Member
from agents.engines.kernel.device_mapper import Mapped
from agents.engines.kernel.initiator import Unit
from agents.engines.kernel.replica_device import Evicted, ReplicaDevice
from agents.engines.userspace.head.state_file import SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import BUILDING, FAULTY, INSYNC, LiveState
from agents.engines.userspace.nbd.sync_client import BlockingClient
from agents.ondisk import GB, MIB, Mark
from agents.protocol import Reason, ReplicaDigests, ReplicaSpec, VerifyOrder

logger = logging.getLogger(__name__)

ASK_SECONDS = 2.0
ASK_AGAIN_SECONDS = 5.0
BROKEN_SECONDS = 3.0
"""For which a path fails again and again that its session says is there."""

Units = Mapping[str, tuple[Unit, ...]]


class KernelMirror:
    """One mirror of a group, which calls `save` to have its state on this head's disk."""

    def __init__(
        self,
        lvolid: int,
        epoch: int,
        saved: SavedMirror,
        folder: Path,
        save: Callable[[], object],
    ) -> None:
        self._lvolid = lvolid
        self._epoch = epoch
        self._save = save
        self._size_gb = saved.size_gb
        self._replaces: dict[int, int] = {}
        self._failing: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        self._traced: set[int] = set()
        self._bitmap = folder / f"bitmap-{saved.mirrorid:08x}"
        self._may_have_bitmap = True
        self._flushed = (0.0, "")
        self.mirrorid = saved.mirrorid
        self.size = saved.size_gb * GB
        self.events = saved.events
        self.dirty = saved.dirty
        self.replicas = {one.dextid: one for one in saved.replicas}
        self.array = Array(names.array(saved.mirrorid))

    def saved(self) -> SavedMirror:
        """Tell its state as it is kept."""
        dirty = self.array.is_there and not self.array.is_equal
        replicas = tuple(self._with_progress(one) for one in self.replicas.values())
        return SavedMirror(self.mirrorid, self._size_gb, self.events, dirty, replicas)

    def serial(self, dextid: int) -> str:
        """Tell the serial number of a replica's unit."""
        return names.serial(dextid, self._lvolid, self._epoch)

    # -- the beginning and the end

    def connect(self, units: Units) -> None:
        """Make the devices of the good replicas; those that have no path are left behind."""
        for one in self._good():
            paths = [unit.number for unit in units.get(self.serial(one.dextid), ())]
            if paths:
                self._device(one.dextid).make(paths)
                self._set(one.dextid, INSYNC, Reason.NONE)
            else:
                self._set(one.dextid, FAULTY, Reason.CONNECTION)
        if not self._good():
            raise EngineError(
                errno.EHOSTUNREACH, f"mirror {self.mirrorid}: no good replica can be reached"
            )

    def assemble(self, *, revived: bool, rate: int) -> None:
        """Run the array of the replicas that are connected, each with this epoch's mark."""
        examine = self.dirty or revived
        if examine:
            self._leave_out_stale()
        self._settle()
        good = [self._member(one.dextid) for one in self._good()]
        self.array.assemble(good, self.size, equal=not examine or len(good) == 1)
        self.array.limit(rate)
        self._begin_bitmap()

    def close(self) -> bool:
        """End it, and mark the replicas as closed cleanly; False if they may differ."""
        equal = not self.array.is_there or (self.array.is_equal and not self.array.is_waiting())
        self.array.stop()
        if equal:
            for one in self._good():
                device = self._device(one.dextid)
                device.flush()
                device.write_mark(Mark(self._epoch, self.events, clean=True))
        self._remove_devices()
        return equal

    def break_devices(self) -> None:
        """Let nothing more reach a replica; what waits is answered with errors."""
        for dextid in self.replicas:
            self._device(dextid).break_off()

    def go_on(self) -> None:
        """Have md answer what waits for the failure of a member, none of which works any more.

        It may have to be told more than once: each member fails by itself.
        """
        try:
            if self.array.is_there and self.array.is_waiting():
                self.array.acknowledge()
        except (EngineError, OSError) as error:
            logger.warning("mirror %d: %s", self.mirrorid, error)

    def break_off(self) -> None:
        """End it, whose devices are broken off and which nobody uses any more."""
        self.break_devices()
        self.go_on()
        self.array.stop()
        self._remove_devices()

    # -- what happens meanwhile

    def look(self) -> None:
        """Notice replicas that failed, paths that are back, and copies that are whole."""
        self._begin_bitmap()
        self._look()
        self._flush()

    def _look(self) -> None:
        members = self.array.members()
        lost: dict[int, Reason] = {}
        for one in self._used():
            device, member = self._device(one.dextid), members.get(self._node(one.dextid))
            device.mend_paths()
            if member is Member.FAULTY or member is None or self._is_broken(one.dextid):
                lost[one.dextid] = Reason.IO
            elif device.is_lost:
                lost[one.dextid] = Reason.CONNECTION
            elif one.state == BUILDING and member is Member.IN_SYNC:
                self._finish(one.dextid)
        if lost:
            self._consider(lost)

    def build(self, spec: ReplicaSpec, replaces: int, units: Units) -> None:
        """Begin to build a replica; one that is in sync or being built goes on."""
        known = self.replicas.get(spec.dextid)
        if known is not None and known.state != FAULTY:
            self._replaces[spec.dextid] = replaces
            return
        paths = [unit.number for unit in units.get(self.serial(spec.dextid), ())]
        if not paths:
            raise EngineError(errno.EHOSTUNREACH, f"replica {spec.dextid} cannot be reached")
        self._take_out(spec.dextid)
        member = self._device(spec.dextid).make(paths)
        self.replicas[spec.dextid] = SavedReplica(
            spec.dextid, spec.addresses, spec.port, spec.export, BUILDING
        )
        self._replaces[spec.dextid] = replaces
        self._save()
        caught_up = spec.dextid in self._traced and self.array.has_bitmap
        self._traced.discard(spec.dextid)
        self.array.build(member, self.size, caught_up=caught_up)

    def cancel(self, dextid: int) -> None:
        """Stop building a replica."""
        one = self.replicas.get(dextid)
        if one is not None and one.state == BUILDING:
            self._set(dextid, FAULTY, Reason.ASKED)
            self._save()
            self._take_out(dextid)

    def _is_broken(self, dextid: int) -> bool:
        """Tell whether a replica cannot be read though its server answers: its disk is broken.

        The device takes that for the failure of one path after the other, and would try for ever.
        """
        device = self._device(dextid)
        if not device.has_failed_path or device.is_lost:
            self._failing.pop(dextid, None)
            return False
        since = self._failing.setdefault(dextid, time.monotonic())
        return time.monotonic() > since + BROKEN_SECONDS

    def verify(self, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
        """Compare blocks of the good replicas while no write to them is in flight."""
        start, length = verification.span(order, self.size)
        if not self.array.is_equal:
            raise EngineError(errno.EAGAIN, "the replicas are being made equal after a crash")
        devices = {one.dextid: self._device(one.dextid) for one in self._good()}
        self.array.hold(start, start + length)
        try:
            return verification.verify(order, devices, start, length)
        finally:
            self.array.release()

    def _begin_bitmap(self) -> None:
        """Note what is written, from a moment on at which all replicas are equal."""
        if not self._may_have_bitmap or self.array.has_bitmap or self.array.copying() is not None:
            return
        if not self.array.is_equal:
            return
        try:
            bitmap.begin(self.array.name, self._bitmap, self.size)
        except (EngineError, OSError) as error:
            self._may_have_bitmap = False
            logger.warning("mirror %d: replicas are copied as a whole: %s", self.mirrorid, error)

    def _flush(self) -> None:
        """Have what was written brought to stable storage before its bits are cleared."""
        at, written = self._flushed
        if time.monotonic() < at + bitmap.FLUSH_SECONDS or written == self.array.written:
            return
        self._flushed = time.monotonic(), self.array.written
        for one in self._good():
            with suppress(EngineError):  # one that is lost is found out soon
                self._device(one.dextid).flush()

    def _consider(self, lost: dict[int, Reason]) -> None:
        """Leave replicas behind, if another one is there: nobody missed what nobody has.

        Evicted where a server says that it serves one no more: this head may be fenced, and then
        what another one says proves nothing.
        """
        for dextid in lost:
            self._ask(dextid)
        if not all(one.dextid in lost for one in self._good()):
            self._leave_behind(lost)

    def _ask(self, dextid: int) -> None:
        """Ask a lost replica's server whether it still serves it; one that is gone says nothing."""
        one, now = self.replicas[dextid], time.monotonic()
        if now < self._asked.get(dextid, 0.0) + ASK_AGAIN_SECONDS:
            return
        self._asked[dextid] = now
        try:
            BlockingClient(one.addresses, one.port, one.export, ASK_SECONDS).close()
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise Evicted(
                    errno.ESTALE, f"replica {dextid}: its server does not serve it any more"
                ) from None

    def _leave_behind(self, lost: Mapping[int, Reason]) -> None:
        before = dict(self.replicas)
        for dextid, reason in lost.items():
            logger.warning(
                "mirror %d: replica %d is left behind: %s", self.mirrorid, dextid, reason
            )
            self._set(dextid, FAULTY, reason)
        try:
            self._commit(before)
        except EngineError:
            self.replicas = before  # nobody was told; md and all who wait go on waiting
            raise

    def _finish(self, dextid: int) -> None:
        """Count a replica as good that md has copied; the one that it replaces goes."""
        before = dict(self.replicas)
        replaced = self._replaces.get(dextid, 0)
        gone = self.replicas.pop(replaced, None) if replaced != dextid else None
        self._set(dextid, INSYNC, Reason.NONE)
        try:
            self._commit(before)
        except EngineError:
            self.replicas = before
            raise
        self._replaces.pop(dextid, None)
        if gone is not None:
            self._take_out(replaced)
        self.array.shrink()

    def _commit(self, before: Mapping[int, SavedReplica]) -> None:
        """Have the marks say who is good, then the state file, and only then md."""
        self._settle()
        faulty = [dextid for dextid, one in self.replicas.items() if one.state == FAULTY]
        left = [dextid for dextid in faulty if before[dextid].state != FAULTY]
        for dextid in left:
            self._replaces.pop(dextid, None)
            if before[dextid].state == INSYNC and self.array.has_bitmap:
                self._traced.add(dextid)
        self._save()
        self._forget(left)

    def _forget(self, dextids: Iterable[int]) -> None:
        """Have md go on without these, once all know that they are behind."""
        members = self.array.members()
        for dextid in dextids:
            node = self._node(dextid)
            if members.get(node, Member.FAULTY) is not Member.FAULTY:
                self.array.fail(node)
            self._device(dextid).let_fail()
        self.array.acknowledge()

    def _take_out(self, dextid: int) -> None:
        """Take a replica out of the array, and its device away."""
        device, node = self._device(dextid), self._node(dextid)
        if device.find() is None:
            return
        if node in self.array.members():
            self.array.fail(node)
            device.break_off()
            self.array.acknowledge()
            self.array.drop(node)
        device.remove()

    # -- marks

    def _settle(self) -> None:
        """Have all good replicas bear a new mark; who does not take it is left behind, too."""
        while True:
            self.events += 1
            mark = Mark(self._epoch, self.events, clean=False)
            missed = [one.dextid for one in self._good() if not self._takes(one.dextid, mark)]
            if len(missed) == len(self._good()):
                raise EngineError(
                    errno.EIO, f"mirror {self.mirrorid}: no good replica takes the mark"
                )
            for dextid in missed:
                self._set(dextid, FAULTY, Reason.CONNECTION)
            if not missed:
                break
        for one in self._good():
            self.replicas[one.dextid] = replace(one, events=self.events)

    def _takes(self, dextid: int, mark: Mark) -> bool:
        try:
            self._device(dextid).write_mark(mark)
        except EngineError as error:
            logger.warning("mirror %d: %s", self.mirrorid, error)
            return False
        return True

    def _leave_out_stale(self) -> None:
        """A replica is stale though the manager could not know: its mark tells."""
        marks = {}
        for one in self._good():
            try:
                marks[one.dextid] = self._device(one.dextid).read_mark()
            except EngineError:
                self._set(one.dextid, FAULTY, Reason.CONNECTION)
        newest = max((mark.events for mark in marks.values()), default=0)
        for dextid, mark in marks.items():
            if mark.events < newest:
                self._set(dextid, FAULTY, Reason.STALE)
        self.events = max(self.events, newest)

    # -- replicas

    def _good(self) -> list[SavedReplica]:
        return [one for one in self.replicas.values() if one.state == INSYNC]

    def _used(self) -> list[SavedReplica]:
        return [one for one in self.replicas.values() if one.state in (INSYNC, BUILDING)]

    def _set(self, dextid: int, state: LiveState, reason: Reason) -> None:
        self.replicas[dextid] = replace(self.replicas[dextid], state=state, reason=reason)

    def _with_progress(self, one: SavedReplica) -> SavedReplica:
        copying = self.array.copying() if one.state == BUILDING else None
        if copying is None:
            return one
        return replace(one, done_mib=copying.done // MIB, total_mib=copying.total // MIB)

    def _device(self, dextid: int) -> ReplicaDevice:
        return ReplicaDevice(names.replica(dextid, self._epoch), self.size)

    def _member(self, dextid: int) -> Mapped:
        found = self._device(dextid).find()
        if found is None:
            raise EngineError(errno.ENODEV, f"replica {dextid} has no device")
        return found

    def _node(self, dextid: int) -> str:
        found = self._device(dextid).find()
        return found.node.rpartition("/")[2] if found else ""

    def _remove_devices(self) -> None:
        for dextid in self.replicas:
            self._device(dextid).remove()
