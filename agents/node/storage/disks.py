"""The disks of a storage server: open and recognise each by its label."""

import errno
import fcntl
import logging
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.errors import AgentError
from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.blocks import size_of
from agents.node.storage.foreign_data import occupant
from agents.node.storage.super_extent import SuperExtent, find_label
from agents.ondisk import GB, LABEL_VERSION, LARGEST_DISK_GB, SMALLEST_DISK_GB, Label
from agents.protocol import DiskState, ExtentRef

logger = logging.getLogger(__name__)

SECTOR = 512
INITIALIZE = "; set initialize = true to take it and lose what is on it"


class UnusableDisk(AgentError):
    """The disk is not there, not ours, or does not work."""

    def __init__(self, message: str, code: int = errno.ENODEV) -> None:
        super().__init__(code, message)


@dataclass(slots=True)
class OpenDisk:
    """An open disk that bears our label. `error` is empty while it can be used."""

    config: DiskConfig
    fd: int
    identity: tuple[int, int, int]
    size: int
    label: Label
    error: str = ""

    @property
    def uuid(self) -> str:
        """The name that the label gives it."""
        return self.label.disk_uuid

    @property
    def super_extent(self) -> SuperExtent:
        """Its last whole GB."""
        return SuperExtent(self.fd, self.label.capacity_gb)

    @property
    def sectors(self) -> int:
        """Its size as the manager counts it."""
        return self.size // SECTOR

    def verify(self) -> None:
        """UnusableDisk unless the path still leads to this very disk and its label is in place."""
        try:
            if _identity(Path(self.config.path).stat()) != self.identity:
                raise UnusableDisk(f"{self.config.path} is another disk now")
            label = self.super_extent.read_label()
        except OSError as error:
            raise UnusableDisk(f"{self.config.path}: {error.strerror}", errno.EIO) from None
        if label is None or label.disk_uuid != self.uuid:
            raise UnusableDisk(f"{self.config.path} no longer bears the label {self.uuid}")

    def fail(self, error: str) -> None:
        """Use it no more; it may be opened anew once it works again."""
        self.error = error
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def number(self, pdskid: int) -> None:
        """Write the manager's number into the label."""
        if pdskid == self.label.pdskid:
            return
        label = self.label._replace(pdskid=pdskid)
        self.super_extent.write_label(label)
        self.label = label

    def state(self) -> DiskState:
        """Tell the manager about it."""
        label = self.label
        return DiskState(
            self.uuid,
            self.config.path,
            label.pdskid,
            label.capacity_gb,
            error=self.error,
            generation=0 if self.error else self.super_extent.newest_generation,
        )


class Disks:
    """All disks of this server, by the name in their labels."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._disks: dict[str, OpenDisk] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[OpenDisk]:
        return iter(list(self._disks.values()))

    def open_all(self, configs: Iterable[DiskConfig], cluster: str) -> None:
        """Open each disk that is not open; one that is refused is logged and left alone."""
        known = {disk.config.path for disk in self if not disk.error}
        for config in configs:
            if config.path not in known:
                self._open(config, cluster)

    def usable(self, name: str) -> OpenDisk:
        """Find a disk and verify that it is the one; else UnusableDisk."""
        disk = self._disks.get(name)
        if disk is None:
            raise UnusableDisk(f"no disk {name} here")
        if disk.error:
            raise UnusableDisk(disk.error, errno.EIO)
        disk.verify()
        return disk

    def locate(self, extent: ExtentRef) -> OpenDisk:
        """Find an extent's disk; UnusableDisk also if the extent is not within its usable space."""
        disk = self.usable(extent.disk)
        end = extent.offset_gb + extent.size_gb
        if extent.offset_gb < 0 or extent.size_gb < 1 or end >= disk.label.capacity_gb:
            place = f"{extent.offset_gb}+{extent.size_gb} GB"
            raise UnusableDisk(
                f"extent {extent.dextid} at {place} is outside of {disk.config.path}"
            )
        return disk

    def _open(self, config: DiskConfig, cluster: str) -> None:
        try:
            disk = open_disk(config, cluster, self._store)
        except (OSError, AgentError) as error:
            reason = f"{config.path}: {error}"
            if self._refused.get(config.path) != reason:
                logger.warning("disk refused: %s", reason)
            self._refused[config.path] = reason
            return
        self._refused.pop(config.path, None)
        before = self._disks.get(disk.uuid)
        if before is not None:
            disk = self._take_back(before, disk)
        self._disks[disk.uuid] = disk
        logger.info("disk %s is %s, %d GB", config.path, disk.uuid, disk.label.capacity_gb)

    def _take_back(self, before: OpenDisk, disk: OpenDisk) -> OpenDisk:
        if not before.error:
            os.close(disk.fd)
            logger.error("disk refused: %s: same label as %s", disk.config.path, before.config.path)
            return before
        # The old descriptor stays open: an order that runs may still use it.
        return disk

    def close(self) -> None:
        """Close every disk."""
        for disk in self._disks.values():
            os.close(disk.fd)
        self._disks.clear()


def open_disk(config: DiskConfig, cluster: str, store: StateStore) -> OpenDisk:
    """Open a disk and label it if it is blank; UnusableDisk if it is somebody else's."""
    remembered = store.fact(_memory(config.path))
    if config.create_gb and not Path(config.path).exists():
        if remembered and not config.initialize:
            raise UnusableDisk(f"disk {remembered.split()[0]} was here and is gone")
        _create(config.path, config.create_gb * GB)
    fd = os.open(config.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _claim(fd)
        size = size_of(fd)
        label = _recognise(fd, size, config, cluster, remembered)
        store.learn(_memory(config.path), f"{label.disk_uuid} {size}")
        return OpenDisk(config, fd, _identity(os.fstat(fd)), size, label)
    except BaseException:
        os.close(fd)
        raise


def _recognise(fd: int, size: int, config: DiskConfig, cluster: str, remembered: str) -> Label:
    capacity_gb = size // GB
    if not SMALLEST_DISK_GB <= capacity_gb <= LARGEST_DISK_GB:
        raise UnusableDisk(
            f"{size} bytes; from {SMALLEST_DISK_GB} to {LARGEST_DISK_GB} GB can be used",
            errno.EINVAL,
        )
    super_extent = SuperExtent(fd, capacity_gb)
    label = super_extent.read_label()
    is_damaged = label is None and super_extent.is_damaged
    if label is None and not is_damaged:
        label = find_label(fd, capacity_gb)
    if label is not None and label.cluster == cluster:
        return label
    if not config.initialize:
        if is_damaged:
            raise UnusableDisk(f"its label is damaged{INITIALIZE}", errno.EIO)
        _refuse_foreign(fd, size, label, remembered)
    label = Label(LABEL_VERSION, cluster, str(uuid.uuid4()), 0, capacity_gb)
    super_extent.format(label)
    logger.warning("disk %s labelled %s for cluster %s", config.path, label.disk_uuid, cluster)
    return label


def _refuse_foreign(fd: int, size: int, label: Label | None, remembered: str) -> None:
    if label is not None:
        raise UnusableDisk(f"it belongs to cluster {label.cluster}{INITIALIZE}", errno.EEXIST)
    found = occupant(fd, size)
    if found:
        raise UnusableDisk(f"it holds {found}{INITIALIZE}", errno.EEXIST)
    name, _, old_size = remembered.partition(" ")
    if remembered and old_size != str(size):
        raise UnusableDisk(
            f"disk {name} of {old_size} bytes was here, now {size}{INITIALIZE}", errno.EEXIST
        )


def _memory(path: str) -> str:
    """Name the fact that tells which disk, of what size, was seen at a path."""
    return f"disk {path}"


def _claim(fd: int) -> None:
    """Keep other agents off; the kernel lets go when this one ends."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableDisk("another agent uses it", errno.EBUSY) from None


def _create(path: str, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Tell devices by their number, files by their place: /dev may be made anew."""
    if stat.S_ISBLK(status.st_mode):
        return 0, 0, status.st_rdev
    return status.st_dev, status.st_ino, 0
