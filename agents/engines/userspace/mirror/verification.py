"""The userspace engine compares blocks of replicas with no write in flight, and mends them."""

import errno
from collections.abc import Iterator
from typing import Any

from agents.checksums import BLOCK, BLOCKS, CHUNK, UNREADABLE, block_digests, digest, fold
from agents.engines.base import EngineError
from agents.engines.userspace.loop.coroutines import io
from agents.engines.userspace.mirror.live_mirror import LiveMirror
from agents.engines.userspace.mirror.live_replica import LiveReplica
from agents.engines.userspace.nbd import messages
from agents.protocol import Reason, ReplicaDigests, VerifyOrder

Contents = dict[int, tuple[bytearray | None, list[str]]]
"""By extent: the bytes, None where the disk cannot read them all, and the blocks' digests."""


async def verify(mirror: LiveMirror, order: VerifyOrder) -> tuple[ReplicaDigests, ...]:
    """Tell what the blocks are on each replica in sync; mend first if the order names a source."""
    start, length = order.offset_mib * CHUNK + order.first * BLOCK, order.count * BLOCK
    if not 0 < order.count <= BLOCKS or not 0 <= start <= mirror.size - length:
        raise EngineError(errno.EINVAL, f"mirror {mirror.mirrorid} has no such blocks")
    _, taken = await mirror.ranges.take(start, start + length)
    try:
        contents = await _read(mirror, start, length)
        if order.source and _is_as_expected(contents, order):
            await _mend(mirror, start, order.source, contents)
            contents = await _read(mirror, start, length)
    finally:
        mirror.ranges.release(taken)
    return tuple(ReplicaDigests(dextid, tuple(told)) for dextid, (_, told) in contents.items())


def _is_as_expected(contents: Contents, order: VerifyOrder) -> bool:
    return order.source in contents and fold(contents[order.source][1]) == order.expected


async def _read(mirror: LiveMirror, start: int, length: int) -> Contents:
    """Read all good replicas; EAGAIN where one is out of reach, or they are being made equal."""
    if mirror.unsynced and mirror.regions.needs_resync(start, length):
        raise EngineError(errno.EAGAIN, "the replicas are being made equal there after a crash")
    asked = [(replica, io(replica, messages.READ, start, length)) for replica in mirror.readers]
    found: Contents = {}
    for replica, reply in asked:
        error, data = await reply
        if error:
            found[replica.dextid] = None, await _read_blocks(replica, start, length)
        else:
            found[replica.dextid] = data, block_digests(data)
    if any(not replica.is_reachable() for replica, _ in asked):
        raise EngineError(errno.EAGAIN, "a replica is out of reach")
    return found


async def _read_blocks(replica: LiveReplica, start: int, length: int) -> list[str]:
    digests = []
    for offset in range(start, start + length, BLOCK):
        error, data = await io(replica, messages.READ, offset, BLOCK)
        digests.append(UNREADABLE if error else digest(data))
    return digests


async def _mend(mirror: LiveMirror, start: int, source: int, contents: Contents) -> None:
    """Write what the source has to where others have something else; durable on return."""
    data, right = contents[source]
    if data is None:
        raise EngineError(errno.EIO, f"replica {source} cannot be read")
    mirror.regions.set_dirty(start, len(data))
    asked = [
        (replica, io(replica, messages.WRITE, start + at, len(piece), piece, messages.FUA))
        for replica in mirror.readers
        if replica.dextid in contents
        for at, piece in _differing(memoryview(data), right, contents[replica.dextid][1])
    ]
    for replica, reply in asked:
        error, _ = await reply
        if error:
            mirror.fail(replica, Reason.IO)


def _differing(data: Any, right: list[str], told: list[str]) -> Iterator[tuple[int, Any]]:
    for number, (wanted, found) in enumerate(zip(right, told, strict=True)):
        if found != wanted:
            at = number * BLOCK
            yield at, data[at : at + BLOCK]
