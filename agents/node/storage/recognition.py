"""Recognise a disk by its label, wherever it turns up, or label it if it is blank.

What bears data of ours is never labelled anew, whatever the configuration says, and no refusal
advises to do so: what looks like somebody else's may be a volume of ours.
"""

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.blocks import size_of
from agents.node.storage.foreign_data import occupant
from agents.node.storage.hardware_ids import hardware_of
from agents.node.storage.label_search import Traces, search_path
from agents.node.storage.labelled_disk import OpenDisk, UnusableDisk, identity_of
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import GB, LABEL_VERSION, LARGEST_DISK_GB, SMALLEST_DISK_GB, Label

logger = logging.getLogger(__name__)

Search = Callable[[str], Traces | None]


def open_disk(
    config: DiskConfig, cluster: str, store: StateStore, search: Search = search_path
) -> OpenDisk:
    """Open a disk and label it if it is blank; UnusableDisk if it cannot, or must not, be used.

    `search` tells what lies on a disk without a label at its end; None while that is not known.
    """
    before = remembered(store, config.path)
    if config.create_gb and not Path(config.path).exists():
        if before and not config.initialize:
            raise UnusableDisk(f"disk {before.split()[0]} was here and is gone")
        _create(config.path, config.create_gb * GB)
    fd = os.open(config.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _claim(fd)
        size = size_of(fd)
        if size < SMALLEST_DISK_GB * GB:
            raise UnusableDisk(_beyond(size), errno.EINVAL)
        label = _find_label(fd, size, config, before, search)
        if label is None or label.cluster != cluster:
            label = _label_anew(fd, size, label, config, cluster)
        _refuse_smaller(label, size)
        store.learn(_memory(config.path), f"{label.disk_uuid} {size}")
        return OpenDisk(config, fd, identity_of(os.fstat(fd)), size, label, hardware_of(fd))
    except BaseException:
        os.close(fd)
        raise


def look_at(path: str, cluster: str) -> Label | None:
    """Look at a disk that is to be taken, and write nothing: its label, None where it is blank.

    UnusableDisk if an agent of this cluster would not take it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = size_of(fd)
        if size < SMALLEST_DISK_GB * GB:
            raise UnusableDisk(_beyond(size), errno.EINVAL)
        label = _find_label(fd, size, DiskConfig(path), "", search_path)
    finally:
        os.close(fd)
    if label is not None and label.cluster != cluster:
        raise UnusableDisk(f"it belongs to cluster {label.cluster}", errno.EEXIST)
    return label


def remembered(store: StateStore, path: str) -> str:
    """Recall which disk was seen at a path, and of how many bytes; "" if none was."""
    return store.fact(_memory(path))


def _find_label(
    fd: int, size: int, config: DiskConfig, before: str, search: Search
) -> Label | None:
    """Look for the label at the disk's end, then elsewhere; None if it may be labelled."""
    failure = None
    try:
        if label := SuperExtent(fd, size // GB).read_label():
            return label
    except OSError as error:
        failure = error  # of a disk that grew, nothing of ours may be there
    traces = search(config.path)
    if traces is None:
        raise UnusableDisk("it is being searched for a label of ours", errno.EAGAIN)
    if traces.newer is not None:
        raise traces.newer
    if traces.label is None:
        if failure is not None:
            raise failure
        _refuse_what_is_ours(traces, size, before)
        if not config.initialize:
            _refuse_what_is_not_blank(fd, size, traces)
    return traces.label


def _refuse_what_is_ours(traces: Traces, size: int, before: str) -> None:
    """Refuse what bears data of ours but no label; it is for a person to find out what happened."""
    if traces.damaged:
        raise UnusableDisk("its label is damaged, and it bears data of ours", errno.EIO)
    name, _, old_size = before.partition(" ")
    if before and size < int(old_size):
        raise UnusableDisk(
            f"disk {name} of {old_size} bytes was here, and this one of {size} may be a part of it;"
            " a new disk needs a path that no other one had",
            errno.EEXIST,
            name,
        )


def _refuse_what_is_not_blank(fd: int, size: int, traces: Traces) -> None:
    if found := occupant(fd, size):
        raise UnusableDisk(f"it holds {found}", errno.EEXIST)
    if traces.data:
        raise UnusableDisk(f"it holds data at GB {min(traces.data)}", errno.EEXIST)


def _refuse_smaller(label: Label, size: int) -> None:
    if label.capacity_gb * GB > size:
        raise UnusableDisk(
            f"it bears the label of disk {label.disk_uuid} of {label.capacity_gb} GB, but has only"
            f" {size} bytes: it was cut, or not all of it was copied",
            errno.EINVAL,
            label.disk_uuid,
        )


def _label_anew(fd: int, size: int, label: Label | None, config: DiskConfig, cluster: str) -> Label:
    """Take a blank disk, or one that somebody said to take; it is another cluster's then."""
    if label is not None and not config.initialize:
        raise UnusableDisk(f"it belongs to cluster {label.cluster}", errno.EEXIST)
    capacity_gb = size // GB
    if capacity_gb > LARGEST_DISK_GB:
        raise UnusableDisk(_beyond(size), errno.EINVAL)
    label = Label(LABEL_VERSION, cluster, str(uuid.uuid4()), 0, capacity_gb, hardware_of(fd))
    SuperExtent(fd, capacity_gb).format(label)
    logger.warning("disk %s labelled %s for cluster %s", config.path, label.disk_uuid, cluster)
    return label


def _beyond(size: int) -> str:
    return f"{size} bytes; from {SMALLEST_DISK_GB} to {LARGEST_DISK_GB} GB can be used"


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
