"""Recognise a disk by its label, or label it if it is blank."""

import errno
import fcntl
import logging
import os
import uuid
from pathlib import Path

from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.blocks import size_of
from agents.node.storage.foreign_data import occupant
from agents.node.storage.labelled_disk import OpenDisk, UnusableDisk, identity_of
from agents.node.storage.super_extent import SuperExtent, find_label
from agents.ondisk import GB, LABEL_VERSION, LARGEST_DISK_GB, SMALLEST_DISK_GB, Label

logger = logging.getLogger(__name__)

INITIALIZE = "; set initialize = true to take it and lose what is on it"


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
        return OpenDisk(config, fd, identity_of(os.fstat(fd)), size, label)
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
