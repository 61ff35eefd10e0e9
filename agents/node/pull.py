"""Copy a good copy from another storage server into a local extent, its mark last."""

import errno
import os
import time

from agents.engines.base import EngineError
from agents.engines.userspace.blocking import BlockingClient
from agents.node.blocks import ZEROS, clear, data_segments, write_all
from agents.node.disks import Disk
from agents.node.orders import Task
from agents.node.throttle import Throttle
from agents.protocol import GB, META_BYTES, MIB, CopySource, ExtentRef

CHUNK = MIB
TIMEOUT = 15.0
SAVE_SECONDS = 2.0


def pull(source: CopySource, disk: Disk, extent: ExtentRef, task: Task, throttle: Throttle) -> None:
    """Make the extent equal to the source; goes on where an earlier process was.

    Without a mark the half-made copy counts as blank; it gets the source's only once it is whole.
    """
    size = extent.size_gb * GB
    disk.super_extent.clear_marks(extent.offset_gb, extent.size_gb)
    with BlockingClient(source.addresses, source.port, source.export, TIMEOUT) as client:
        if client.size != size + META_BYTES:
            raise EngineError(errno.EINVAL, f"the source has {client.size} bytes, not {size}")
        _copy(client, disk.fd, extent, task, throttle)
        mark = client.read(size, META_BYTES)
    os.fdatasync(disk.fd)
    write_all(disk.fd, bytes(mark), disk.super_extent.mark_offset(extent.offset_gb))
    disk.super_extent.flush()


def _copy(
    client: BlockingClient, fd: int, extent: ExtentRef, task: Task, throttle: Throttle
) -> None:
    base, size = extent.offset_gb * GB, extent.size_gb * GB
    next_save = time.monotonic() + SAVE_SECONDS
    for offset in range(task.report.done_mib * MIB, size, CHUNK):
        throttle.pay(CHUNK, task.cancelled)
        content = client.read(offset, CHUNK)
        _place(fd, base + offset, content)
        task.progress((offset + CHUNK) // MIB, size // MIB)
        if time.monotonic() > next_save:
            os.fdatasync(fd)
            task.save()
            next_save = time.monotonic() + SAVE_SECONDS


def _place(fd: int, offset: int, content: bytearray) -> None:
    """Write what is not zero; zeros become holes, and holes stay holes."""
    if content != ZEROS:
        write_all(fd, memoryview(content), offset)
    elif any(data_segments(fd, offset, offset + len(content))):
        clear(fd, offset, len(content))
