"""Copy a good replica from another storage server into a local extent, its mark last."""

import errno
import os
import time
from collections.abc import Iterator

from agents.engines.userspace.nbd.sync_client import BlockingClient
from agents.errors import AgentError
from agents.node.orders import RunningOrder
from agents.node.storage.blocks import clear, data_segments, write_all
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB, MARK_BYTES, MIB
from agents.protocol import ExtentRef, ReplicaSource
from agents.rate_limit import RateLimit

CHUNK = MIB
TIMEOUT = 15.0
SAVE_SECONDS = 2.0


def pull(
    source: ReplicaSource,
    disk: OpenDisk,
    extent: ExtentRef,
    task: RunningOrder,
    rate: RateLimit,
) -> None:
    """Make the extent equal to the source; goes on where an earlier process was.

    Without a mark the half-made replica counts as blank; it gets the source's only once it is
    whole.
    """
    size = extent.size_gb * GB
    disk.super_extent.clear_marks(extent.offset_gb, extent.size_gb)
    with BlockingClient(source.addresses, source.port, source.export, TIMEOUT) as client:
        if client.size != size + MARK_BYTES:
            raise AgentError(errno.EINVAL, f"the source has {client.size} bytes, not {size}")
        _copy(client, disk.fd, extent, task, rate)
        mark = client.read(size, MARK_BYTES)
    os.fdatasync(disk.fd)
    write_all(disk.fd, bytes(mark), disk.super_extent.mark_offset(extent.offset_gb))
    disk.super_extent.flush()


def _copy(
    client: BlockingClient, fd: int, extent: ExtentRef, task: RunningOrder, rate: RateLimit
) -> None:
    base, size = extent.offset_gb * GB, extent.size_gb * GB
    next_save = time.monotonic() + SAVE_SECONDS
    for start, stop, is_zero in _parts(client, task.report.done_mib * MIB, size):
        if is_zero:
            _blank(fd, base + start, stop - start)
        else:
            rate.pay(stop - start, task.cancelled)
            write_all(fd, memoryview(client.read(start, stop - start)), base + start)
        task.progress(stop // MIB, size // MIB)
        if time.monotonic() > next_save:
            os.fdatasync(fd)
            task.save()
            next_save = time.monotonic() + SAVE_SECONDS


def _parts(client: BlockingClient, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a range into holes, and data in pieces of at most a chunk."""
    for offset in range(begin, end, GB):
        for start, stop, is_zero in client.segments(offset, min(GB, end - offset)):
            if is_zero:
                yield start, stop, True
                continue
            for piece in range(start, stop, CHUNK):
                yield piece, min(piece + CHUNK, stop), False


def _blank(fd: int, offset: int, length: int) -> None:
    """Make a range a hole, if it is none: an earlier try may have been there."""
    if any(data_segments(fd, offset, offset + length)):
        clear(fd, offset, length)
