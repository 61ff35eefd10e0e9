"""Zero an extent so that nobody can ever read what was in it."""

import errno
import logging
import os
import time
from collections.abc import Iterator

from agents.errors import AgentError
from agents.node.orders import RunningOrder
from agents.node.storage.blocks import clear, data_segments, is_zero
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB, MIB
from agents.protocol import ExtentRef
from agents.rate_limit import RateLimit

logger = logging.getLogger(__name__)

CHUNK = 16 * MIB
SAVE_SECONDS = 2.0
SAMPLE_STEP = 64 * MIB
WHOLE_CHECK = 256 * MIB
"""Up to so much non-hole space is read back in full, more by samples."""


class BadBlocks(AgentError):
    """Some GB of the disk cannot be zeroed."""

    def __init__(self, blocks: list[int]) -> None:
        super().__init__(errno.EIO, f"GB {blocks} cannot be zeroed")
        self.blocks = blocks


def shred(disk: OpenDisk, extent: ExtentRef, task: RunningOrder, rate: RateLimit) -> None:
    """Zero the extent, its descriptors and marks durably; goes on where an earlier process was.

    Holes hold nothing and are left alone, so a disk that was never written is certified at once.
    """
    first = extent.offset_gb + task.report.done_mib * MIB // GB
    total_mib = extent.size_gb * GB // MIB
    next_save = time.monotonic() + SAVE_SECONDS
    bad = []
    for block in range(first, extent.offset_gb + extent.size_gb):
        try:
            _zero_block(disk.fd, block, extent, task, rate)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise  # no fault of the block's
            logger.warning("disk %s: GB %d: %s", disk.uuid, block, error.strerror)
            bad.append(block)
        task.progress((block + 1 - extent.offset_gb) * (GB // MIB), total_mib)
        if not bad and time.monotonic() > next_save:
            task.save()
            next_save = time.monotonic() + SAVE_SECONDS
    if bad:
        raise BadBlocks(bad)
    _verify(disk.fd, extent)
    disk.super_extent.clear_descriptors(extent.offset_gb, extent.size_gb)
    disk.super_extent.clear_marks(extent.offset_gb, extent.size_gb)


def _zero_block(
    fd: int, block: int, extent: ExtentRef, task: RunningOrder, rate: RateLimit
) -> None:
    """Zero one GB; durable on return."""
    written = False
    for start, stop in list(data_segments(fd, block * GB, (block + 1) * GB)):
        for offset in range(start, stop, CHUNK):
            size = min(CHUNK, stop - offset)
            rate.pay(size, task.cancelled)
            task.progress(
                offset // MIB - extent.offset_gb * (GB // MIB), extent.size_gb * (GB // MIB)
            )
            clear(fd, offset, size)
            written = True
    if written:
        os.fdatasync(fd)


def _verify(fd: int, extent: ExtentRef) -> None:
    start, end = extent.offset_gb * GB, (extent.offset_gb + extent.size_gb) * GB
    for offset, size in _samples(list(data_segments(fd, start, end))):
        if not is_zero(fd, offset, size):
            raise AgentError(errno.EIO, f"extent {extent.dextid} is not zero near byte {offset}")


def _samples(segments: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    whole = sum(stop - start for start, stop in segments) <= WHOLE_CHECK
    for start, stop in segments:
        for offset in range(start, stop, SAMPLE_STEP):
            yield offset, min(SAMPLE_STEP if whole else MIB, stop - offset)
