"""Copy a few blocks of a good replica from another storage server over unequal ones."""

import errno
import os

from agents.checksums import BLOCK, BLOCKS, block_digests, fold
from agents.engines.userspace.nbd.sync_client import BlockingClient
from agents.errors import AgentError
from agents.node.storage.blocks import write_all
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB, MIB
from agents.protocol import MendOrder

TIMEOUT = 8.0


def read_source(order: MendOrder) -> bytearray:
    """Read the blocks from the source; ESTALE where they are not those that were chosen."""
    source, length = order.source, order.count * BLOCK
    within = order.first >= 0 and order.count > 0 and order.first + order.count <= BLOCKS
    if not within or not 0 <= _offset(order) < order.target.size_gb * GB:
        raise AgentError(errno.EINVAL, f"extent {order.target.dextid} has no such blocks")
    with BlockingClient(source.addresses, source.port, source.export, TIMEOUT) as client:
        data = client.read(_offset(order), length)
    if fold(block_digests(data)) != order.expected:
        raise AgentError(errno.ESTALE, "the source has other contents by now")
    return data


def overwrite(disk: OpenDisk, order: MendOrder, data: bytearray) -> None:
    """Write the blocks, durably."""
    write_all(disk.fd, memoryview(data), order.target.offset_gb * GB + _offset(order))
    os.fdatasync(disk.fd)


def _offset(order: MendOrder) -> int:
    return order.offset_mib * MIB + order.first * BLOCK
