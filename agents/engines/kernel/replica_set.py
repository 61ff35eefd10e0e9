"""The replicas of a mirror on its head: which of them are good, their devices, and their marks."""

import errno
import logging
from dataclasses import replace

from agents.engines.base import EngineError
from agents.engines.kernel import iscsi_names
from agents.engines.kernel.device_mapper import Mapped
from agents.engines.kernel.replica_device import ReplicaDevice
from agents.engines.userspace.head.state_file import SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import BUILDING, FAULTY, INSYNC, LiveState
from agents.ondisk import GB, Mark
from agents.protocol import Reason

logger = logging.getLogger(__name__)


class ReplicaSet:
    """The replicas of one mirror in one epoch, by extent; `events` is in the marks of the good."""

    def __init__(self, epoch: int, saved: SavedMirror) -> None:
        self._epoch = epoch
        self._mirrorid = saved.mirrorid
        self.size = saved.size_gb * GB
        self.events = saved.events
        self.all = {one.dextid: one for one in saved.replicas}

    @property
    def good(self) -> list[SavedReplica]:
        """Those that have all that was acknowledged."""
        return [one for one in list(self.all.values()) if one.state == INSYNC]

    @property
    def used(self) -> list[SavedReplica]:
        """Those that are written: the good ones and those that are being built."""
        return [one for one in list(self.all.values()) if one.state in (INSYNC, BUILDING)]

    def put(self, dextid: int, state: LiveState, reason: Reason) -> None:
        """Say what became of a replica."""
        self.all[dextid] = replace(self.all[dextid], state=state, reason=reason)

    # -- devices

    def name(self, dextid: int) -> str:
        """Name a replica's device as the device mapper does."""
        return iscsi_names.replica(dextid, self._epoch)

    def device(self, dextid: int) -> ReplicaDevice:
        """Name a replica's device, which is there or not."""
        return ReplicaDevice(self.name(dextid), self.size)

    def member(self, dextid: int) -> Mapped:
        """Find a replica's device, which has to be there."""
        found = self.device(dextid).find()
        if found is None:
            raise EngineError(errno.ENODEV, f"replica {dextid} has no device")
        return found

    def node(self, dextid: int) -> str:
        """Name a replica's device as md does; "" where it is not there."""
        found = self.device(dextid).find()
        return found.node.rpartition("/")[2] if found else ""

    def break_devices(self) -> None:
        """Let nothing more reach a replica; what waits is answered with errors."""
        for dextid in self.all:
            self.device(dextid).break_off()

    def remove_devices(self) -> None:
        """Take all devices away."""
        for dextid in self.all:
            self.device(dextid).remove()

    # -- marks

    def settle(self) -> None:
        """Have all good replicas bear a new mark; who does not take it is left behind, too."""
        while self._mark_all():
            pass
        for one in self.good:
            self.all[one.dextid] = replace(one, events=self.events)

    def close(self) -> None:
        """Mark the good ones, which are equal and which nobody writes any more, as closed."""
        for one in self.good:
            device = self.device(one.dextid)
            device.flush()
            device.write_mark(Mark(self._epoch, self.events, clean=True))

    def exclude_stale(self) -> None:
        """A replica is stale though the manager could not know: its mark tells."""
        marks = {}
        for one in self.good:
            try:
                marks[one.dextid] = self.device(one.dextid).read_mark()
            except EngineError:
                self.put(one.dextid, FAULTY, Reason.CONNECTION)
        newest = max((mark.events for mark in marks.values()), default=0)
        for dextid, mark in marks.items():
            if mark.events < newest:
                self.put(dextid, FAULTY, Reason.STALE)
        self.events = max(self.events, newest)

    def _mark_all(self) -> list[int]:
        """Mark all good ones, once; those that did not take it are good no more."""
        self.events += 1
        mark = Mark(self._epoch, self.events, clean=False)
        missed = [one.dextid for one in self.good if not self._takes(one.dextid, mark)]
        if len(missed) == len(self.good):
            raise EngineError(errno.EIO, f"mirror {self._mirrorid}: no good replica takes the mark")
        for dextid in missed:
            self.put(dextid, FAULTY, Reason.CONNECTION)
        return missed

    def _takes(self, dextid: int, mark: Mark) -> bool:
        try:
            self.device(dextid).write_mark(mark)
        except EngineError as error:
            logger.warning("mirror %d: %s", self._mirrorid, error)
            return False
        return True
