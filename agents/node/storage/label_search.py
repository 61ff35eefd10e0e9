"""Look for our label all over a disk: of one that grew, was copied, was cut, or is not ours."""

import logging
import os
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from agents import ondisk
from agents.node.storage.blocks import size_of
from agents.node.storage.labelled_disk import identity_of
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import GB, LABEL_BYTES, LABELS_AT, MIB, Label, NewerLabel

logger = logging.getLogger(__name__)

LOOK_BYTES = LABEL_BYTES * len(LABELS_AT)
UNREADABLE = b"?" * LABEL_BYTES


@dataclass(frozen=True, slots=True)
class Traces:
    """What lies where labels may lie, at the beginning of each GB.

    `data` names the GB that begin with anything but zeros, or cannot be read, down to the label.
    `damaged`: there is no label at the end, where the rest of a SUPER extent of ours is.
    """

    label: Label | None = None
    newer: NewerLabel | None = None
    data: tuple[int, ...] = ()
    damaged: bool = False


def search(fd: int, size: int) -> Traces:
    """Look at the beginning of every GB, from the end, until a label is found in its place.

    Of a disk that was cut the last GB may be there in part, and begin with the label.
    """
    data = []
    for gb in range((size - LOOK_BYTES) // GB, -1, -1):
        begin = _begin_of(fd, gb)
        if not any(begin):
            continue
        try:
            label = _label_in(begin)
        except NewerLabel as error:
            return Traces(newer=error)
        if label is not None and label.capacity_gb == gb + 1:
            return Traces(label)
        # Half a label at the end is what a power cut leaves of the first one, if no more is there.
        if gb + 1 != size // GB or not ondisk.is_of_a_label(begin):
            data.append(gb)
    return Traces(data=tuple(data), damaged=_is_damaged(fd, size // GB))


def _is_damaged(fd: int, capacity_gb: int) -> bool:
    try:
        return SuperExtent(fd, capacity_gb).is_damaged
    except OSError:
        return True  # nobody can tell that it is not


def _begin_of(fd: int, gb: int) -> bytes:
    """Read where a label may lie, and lie once more; what cannot be read counts as data."""
    return b"".join(_block(fd, gb * GB + at) for at in LABELS_AT)


def _block(fd: int, offset: int) -> bytes:
    try:
        return os.pread(fd, LABEL_BYTES, offset)
    except OSError as error:
        logger.warning("%d bytes at %d cannot be read: %s", LABEL_BYTES, offset, error.strerror)
        return UNREADABLE


def _label_in(begin: bytes) -> Label | None:
    for at in LABELS_AT:
        block = begin[at : at + LABEL_BYTES]
        if len(block) == LABEL_BYTES and (label := ondisk.unpack_label(block)):
            return label
    return None


class LabelSearch:
    """Searches disks in the background: the GB of a large spinning one take minutes.

    A disk that is refused is not searched again and again, but when it looks like another one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, tuple[object, Traces]] = {}
        self._running: dict[str, threading.Thread] = {}

    def traces(self, path: str, until: float) -> Traces | None:
        """Tell what was found on a disk; None if the search goes on at that moment."""
        look = _look_of(path)
        with self._lock:
            if self._seen(path, look) is None and path not in self._running:
                self._begin(path, look)
            thread = self._running.get(path)
        if thread is not None:
            thread.join(max(until - time.monotonic(), 0))
        with self._lock:
            traces = self._seen(path, look)
            # What is to be labelled, or was recognised, may be another disk next time.
            if traces is not None and not traces.data:
                del self._found[path]
            return traces

    def _seen(self, path: str, look: object) -> Traces | None:
        seen, traces = self._found.get(path, (None, None))
        return traces if seen == look else None

    def _begin(self, path: str, look: object) -> None:
        name = f"search {path}"
        thread = threading.Thread(target=self._run, args=(path, look), name=name, daemon=True)
        self._running[path] = thread
        thread.start()

    def _run(self, path: str, look: object) -> None:
        logger.info("%s: looking for a label of ours at every GB", path)
        traces = None
        try:
            traces = search_path(path)
        except OSError as error:
            logger.warning("%s: cannot be searched: %s", path, error.strerror)
        with self._lock:
            del self._running[path]
            if traces is not None:
                self._found[path] = look, traces


def search_path(path: str) -> Traces:
    """Search a disk here and now."""
    # A descriptor of its own: its hint is for nobody else, and it may outlive who asked.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return search(fd, size_of(fd))
    finally:
        os.close(fd)


def _look_of(path: str) -> object:
    """Tell a disk from another one that came into its place: by what it is, and how it looks."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = size_of(fd)
        first = os.pread(fd, MIB, 0)
        last = os.pread(fd, MIB, max(size - MIB, 0))
    finally:
        os.close(fd)
    return identity_of(Path(path).stat()), size, zlib.crc32(first), zlib.crc32(last)
