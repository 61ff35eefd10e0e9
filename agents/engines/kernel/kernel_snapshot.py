"""A snapshot of a volume that is attached: the device mapper's, with its exceptions in its store.

What the origin overwrites is copied to the store first, chunk by chunk, and then noted there,
durably: Linux's `snapshot` target with a persistent store. So a snapshot outlives detach, attach,
and the end of its head; its store may lie on any replicas, as a volume may.
"""

import errno
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import device_mapper, iscsi_names
from agents.engines.kernel.device_mapper import Mapped, TablePiece
from agents.engines.kernel.kernel_state import Overview
from agents.engines.kernel.mirror import KernelMirror
from agents.engines.kernel.volume_device import cut_off, one_after_another
from agents.engines.userspace.head.state_file import SavedDevice
from agents.engines.userspace.snapshot.cow_store import COW_CHUNK, KERNELS_STORE, STORE_MAGIC
from agents.ondisk import MIB, SECTOR
from agents.protocol import DeviceState

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 15.0
"""For which an origin's writes wait for a store that is out of reach, as with the embedded
engine."""
HEADER_BYTES = 4096
INVALID = "Invalid"


class KernelSnapshot:
    """A snapshot in one epoch of its group.

    It is `arriving` until it is complete: whoever finds it so later finds a broken one. Its mirrors
    are looked after once it `is_joined`. `broken`: its store lacks what its origin has overwritten,
    for ever.
    """

    def __init__(
        self, saved: SavedDevice, epoch: int, mirrors: Sequence[KernelMirror], *, arriving: bool
    ) -> None:
        self.lvolid = saved.lvolid
        self.labels = saved.labels
        self.mirrors = mirrors
        self.broken = saved.broken
        self.arriving = arriving
        self.is_joined = not arriving
        self.name = iscsi_names.snapshot(saved.lvolid, epoch)
        self._store = iscsi_names.store(saved.lvolid, epoch)
        self._saved = saved
        self._waits_since = 0.0
        self._looked: object = None

    @property
    def is_used(self) -> bool:
        """Tell whether its store is used."""
        return self.is_joined and not self.broken

    def saved(self) -> SavedDevice:
        """Tell its state as it is kept."""
        mirrors = tuple(mirror.saved() for mirror in self.mirrors)
        return replace(self._saved, broken=self.broken or self.arriving, mirrors=mirrors)

    def is_in(self, seen: Overview) -> bool:
        """Tell whether the kernel has it, as far as it is to be there."""
        return self.broken or self.arriving or self.name in seen.devices

    def state(self) -> DeviceState:
        """Tell the manager about it."""
        device = device_mapper.find(self.name)
        clients = device.opened if device else 0
        return DeviceState(self.lvolid, clients, self._kept_mib(), self.broken)

    def _kept_mib(self) -> int:
        told = "" if self.broken else self._status()
        taken, _, of_which = told.partition("/")
        if not of_which:
            return 0
        return (int(taken) - int(of_which.split()[-1])) * SECTOR // MIB

    def _status(self) -> str:
        with suppress(EngineError):
            return " ".join(device_mapper.status(self.name))
        return ""

    # -- the beginning and the end

    def lay(self, origin: Mapped, sectors: int) -> None:
        """Make it over its store, whose mirrors are there; it begins once it is resumed.

        One whose store is not what it was is broken by that.
        """
        if not self._has_its_store():
            self.broken = True
            return
        store = device_mapper.create(self._store, one_after_another(self.mirrors))
        words = f"{origin.words} {store.words} P {COW_CHUNK // SECTOR}"
        device_mapper.prepare(self.name, [TablePiece(sectors, "snapshot", words)], read_only=True)

    def begin(self) -> None:
        """Begin to be there."""
        device_mapper.resume(self.name)

    def _has_its_store(self) -> bool:
        first = self.mirrors[0].replicas
        header = first.device(first.good[0].dextid).read(0, HEADER_BYTES)
        if header.startswith(STORE_MAGIC):
            raise EngineError(
                errno.EOPNOTSUPP,
                f"snapshot {self.lvolid} was kept by the embedded engine:"
                " attach its origin to a head of that engine, or delete the snapshot",
            )
        if not any(header):
            return self._saved.is_fresh
        return header.startswith(KERNELS_STORE) and not self.arriving

    def remove(self) -> None:
        """Take its devices away, which nobody uses; the mirrors of one that is used stay."""
        device_mapper.remove(self.name)
        device_mapper.remove(self._store)
        if not self.is_used:
            for mirror in self.mirrors:
                mirror.break_off()

    def break_off(self, sectors: int) -> None:
        """Take its store away; whoever reads it reads errors."""
        for mirror in self.mirrors:
            mirror.replicas.break_devices()
        cut_off(self.name, sectors, self.mirrors)
        device_mapper.remove(self._store)
        for mirror in self.mirrors:
            mirror.break_off()

    # -- what happens meanwhile

    def wants_look(self, seen: Overview) -> bool:
        """Tell whether something happened to it since the last look, or its end may take one."""
        is_ending = self.broken and self._store in seen.devices
        return is_ending or seen.devices.get(self.name) != self._looked

    def let_go(self) -> None:
        """Have nobody wait for its store any more.

        Its origin goes on, and it reads as errors from the first copy on that fails.
        """
        for mirror in self.mirrors:
            mirror.replicas.break_devices()
        self.go_on()

    def go_on(self) -> None:
        """See that nobody waits for the store of a broken one."""
        for mirror in self.mirrors if self.broken else ():
            mirror.go_on()

    def is_over(self, seen: Overview, *, origin_waits: bool) -> bool:
        """Tell whether its store is to be let go: it cannot keep what its origin overwrites.

        While its origin is out of reach nothing waits for the store alone.
        """
        self._looked = seen.devices.get(self.name)
        if not self.is_used:
            return False
        if self._status() == INVALID:
            logger.warning("snapshot %d: its store could not be written", self.lvolid)
            return True
        if origin_waits or not self._is_waited_for():
            self._waits_since = 0.0
            return False
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        return now > self._waits_since + TIMEOUT_SECONDS

    def _is_waited_for(self) -> bool:
        return any(mirror.is_lost for mirror in self.mirrors) and _in_flight(self._store)


def _in_flight(name: str) -> bool:
    """Tell whether requests wait in a device."""
    device = device_mapper.find(name)
    if device is None:
        return False
    counts = Path(f"/sys/dev/block/{device.words}/inflight").read_text().split()
    return any(int(count) for count in counts)
