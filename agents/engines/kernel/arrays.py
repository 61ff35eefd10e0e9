"""Mirrors by md, driven through sysfs: RAID1 without a superblock of md's.

An array is made anew at each attach, of the replicas that the manager's rules found to be good, and
is told that its metadata is external: kept by somebody else. So an extent's bytes lie exactly as in
the embedded engine, nothing on a disk looks like a part of an array, and when a member fails the
kernel holds writes back until whoever keeps the metadata has noted it and says so: `acknowledge`.
"""

import errno
import logging
import mmap
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.device_mapper import Mapped
from agents.engines.kernel.kernel_file import BLOCK, read_once

logger = logging.getLogger(__name__)

NEW_ARRAY = Path("/sys/module/md_mod/parameters/new_array")
METADATA = "external:vastsky"
KIB = 1024
APPEAR_SECONDS = 10.0
POLL_SECONDS = 0.01
SETTLED, WHOLE = "none", "idle"
WRITE_PENDING = "write-pending"
FIRST_BYTES = 4096
FASTEST_KIB_PER_S = 1 << 20


class ArrayMember(StrEnum):
    """A member of an array, as far as an engine has to know."""

    IN_SYNC = "in sync"
    BUILDING = "building"
    FAULTY = "faulty"


@dataclass(frozen=True, slots=True)
class ArrayCopying:
    """How far a resync or a rebuild is, in bytes."""

    done: int
    total: int


class Array:
    """One array, which is there or not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._md = BLOCK / name / "md"

    @property
    def is_there(self) -> bool:
        """Tell whether it runs."""
        return self._md.is_dir() and self._read("array_state") not in {"", "clear", "inactive"}

    @property
    def words(self) -> str:
        """Its number as tables of the device mapper name devices."""
        return read_once(BLOCK / self.name / "dev")

    def assemble(self, members: Sequence[Mapped], size: int, *, equal: bool) -> None:
        """Run an array of these; unless they are known to be `equal`, they are made so."""
        self.stop()
        if not self._md.is_dir():
            self._write_to(NEW_ARRAY, self.name)
            self._await_folder()
        self._write("metadata_version", METADATA)
        self._write("level", "raid1")
        self._write("raid_disks", str(len(members)))
        for slot, member in enumerate(members):
            self._add(member, size, slot, good=True)
        self._write("component_size", str(size // KIB))
        self._write("resync_start", SETTLED if equal else "0")
        self._write("array_state", "active")
        self._write("safe_mode_delay", "0")
        self._begin_writing()

    def _begin_writing(self) -> None:
        """Let the first write go through here, for it is held until it is acknowledged.

        md takes an array for clean until then, and asks that its metadata say otherwise: the marks
        do. What is written is what was read, before anybody else can write.
        """
        writer = threading.Thread(target=self._write_first, name=f"first-{self.name}", daemon=True)
        writer.start()
        deadline = time.monotonic() + APPEAR_SECONDS
        while writer.is_alive():
            if time.monotonic() > deadline:
                raise EngineError(errno.ETIMEDOUT, f"array {self.name}: takes no write")
            if self._read("array_state") == WRITE_PENDING:
                self._write("array_state", "active")
            writer.join(POLL_SECONDS)

    def _write_first(self) -> None:
        try:
            descriptor = os.open(f"/dev/{self.name}", os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
            with mmap.mmap(-1, FIRST_BYTES) as block:
                os.preadv(descriptor, [block], 0)
                os.pwritev(descriptor, [block], 0)
            os.close(descriptor)
        except OSError as error:
            logger.warning("array %s: its first write: %s", self.name, error.strerror)

    def stop(self) -> None:
        """End it; what was written to it has landed. EBUSY while it is in use."""
        if not self._md.is_dir():
            return
        with suppress(EngineError):
            self._write("sync_action", "idle")
        deadline = time.monotonic() + APPEAR_SECONDS
        while self._read("array_state") not in {"", "clear"}:
            try:
                self._write("array_state", "clear")
            except EngineError as error:  # udev, too, looks at arrays
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def members(self) -> dict[str, ArrayMember]:
        """Tell each member's state, by its device's name."""
        found = {}
        for folder in self._md.glob("dev-*"):
            states = set(read_once(folder / "state").split(","))
            good = ArrayMember.IN_SYNC if "in_sync" in states else ArrayMember.BUILDING
            found[folder.name.removeprefix("dev-")] = (
                ArrayMember.FAULTY if "faulty" in states else good
            )
        return found

    @property
    def has_bitmap(self) -> bool:
        """Tell whether what is written is noted in a bitmap."""
        return self._read("bitmap/location") not in {"", "none"}

    def is_waiting(self) -> bool:
        """Tell whether writes wait for a failed member to be acknowledged."""
        return self._read("array_state") == WRITE_PENDING or any(
            "blocked" in read_once(folder / "state") for folder in self._md.glob("dev-*")
        )

    def acknowledge(self, devices: Collection[str]) -> None:
        """Say that the failures of these are noted where they have to be.

        Writes go on, unless another member failed meanwhile of which nobody has noted it.
        """
        unknown = False
        for folder in self._md.glob("dev-*"):
            if "blocked" in read_once(folder / "state"):
                if folder.name.removeprefix("dev-") in devices:
                    self._write_to(folder / "state", "-blocked")
                else:
                    unknown = True
        if not unknown:
            self._write("array_state", "active")

    def acknowledge_all(self) -> None:
        """Let writes be answered, whatever failed: where nobody is to use the array any more."""
        self.acknowledge(self.members())

    def fail(self, device: str) -> None:
        """Leave a member behind; its failure has to be acknowledged like any other."""
        self._write_to(self._md / f"dev-{device}" / "state", "faulty")

    def drop(self, device: str) -> None:
        """Take a failed member out."""
        folder = self._md / f"dev-{device}"
        deadline = time.monotonic() + APPEAR_SECONDS
        while folder.is_dir():
            try:
                self._write_to(folder / "state", "remove")
            except EngineError as error:
                # ENODEV: it is just going.
                waits = error.errno in {errno.EBUSY, errno.ENODEV, errno.ENOENT}
                if not waits or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def build(self, member: Mapped, size: int, *, caught_up: bool = False) -> None:
        """Take a member in, in a place that is free, and copy to it.

        One that is to be `caught_up` had all but what the bitmap tells.
        """
        with self._pausing():
            self._take_in(member, size, good=caught_up)

    def _take_in(self, member: Mapped, size: int, *, good: bool) -> None:
        taken = [int(slot) for slot in self._slots() if slot.isdigit()]
        places = int(self._read("raid_disks").split()[0])
        free = next((slot for slot in range(places) if slot not in taken), places)
        if free == places:
            self._write("raid_disks", str(places + 1))
        # One that is said to be in sync when the array runs already is copied by the bitmap.
        self._add(member, size, free, good=good)

    def shrink(self) -> None:
        """Give up the places that no member has."""
        count = len(self.members())
        if 0 < count < int(self._read("raid_disks").split()[0]):
            with self._pausing(), suppress(EngineError):  # EBUSY where the last one is still needed
                self._write("raid_disks", str(count))

    @contextmanager
    def _pausing(self) -> Iterator[None]:
        """Copy nothing for a moment: places can be changed then only.

        After it md looks what there is to copy: first to who is being built, then to make members
        equal from where that was. Whenever it ends copying it holds writes until that is noted.
        """
        self._write("sync_action", "frozen")
        try:
            yield
        finally:
            self._write("sync_action", "idle")
            self.acknowledge(())

    def copying(self) -> ArrayCopying | None:
        """Tell how far members are made equal or built; None where nothing is copied."""
        if self._read("sync_action") in {WHOLE, ""}:
            return None
        done, _, total = self._read("sync_completed").partition("/")
        if not total:
            return ArrayCopying(0, 0)
        return ArrayCopying(int(done) * 512, int(total) * 512)

    @property
    def is_equal(self) -> bool:
        """Tell whether the members in sync are known to be equal."""
        return self._read("resync_start") == SETTLED and self._read("sync_action") != "resync"

    def limit(self, mib_per_s: int) -> None:
        """Bound how fast is copied; 0: as fast as it goes.

        The least is the most, for md takes each server that others use for busy, and creeps then.
        """
        for bound in ("sync_speed_max", "sync_speed_min"):
            self._write(bound, str(mib_per_s * KIB if mib_per_s else FASTEST_KIB_PER_S))

    def hold(self, start: int, end: int) -> None:
        """Hold writes to a range of bytes back, once those in flight have landed."""
        self._write("suspend_hi", str(end // 512))
        self._write("suspend_lo", str(start // 512))

    @property
    def is_held(self) -> bool:
        """Tell whether writes to a range are held back."""
        return self._read("suspend_hi") not in {"", "0"}

    def release(self) -> None:
        """Hold nothing back any more."""
        self._write("suspend_lo", "0")
        self._write("suspend_hi", "0")

    def _add(self, member: Mapped, size: int, slot: int, *, good: bool) -> None:
        self._write("new_dev", member.words)
        folder = self._md / f"dev-{Path(member.node).name}"
        self._write_to(folder / "offset", "0")
        self._write_to(folder / "size", str(size // KIB))
        if good:
            self._write_to(folder / "state", "insync")
        self._write_to(folder / "slot", str(slot))

    def _slots(self) -> list[str]:
        return [read_once(folder / "slot") for folder in self._md.glob("dev-*")]

    def _await_folder(self) -> None:
        deadline = time.monotonic() + APPEAR_SECONDS
        while not self._md.is_dir():
            if time.monotonic() > deadline:
                raise EngineError(errno.ETIMEDOUT, f"the array {self.name} does not appear")
            time.sleep(POLL_SECONDS)

    def _read(self, name: str) -> str:
        with suppress(OSError):
            return read_once(self._md / name)
        return ""

    def _write(self, name: str, value: str) -> None:
        self._write_to(self._md / name, value)

    def _write_to(self, file: Path, value: str) -> None:
        try:
            file.write_text(value)
        except OSError as error:
            what = f"{file.parent.name}/{file.name}: {value!r}"
            raise EngineError(
                error.errno or errno.EIO, f"array {self.name}: {what}: {error.strerror}"
            ) from None
