"""The kernel engine compares blocks of replicas with no write in flight, and mends them."""

import errno
from collections.abc import Iterable

from agents.checksums import BLOCK, BLOCKS, CHUNK, UNREADABLE, block_digests, digest, fold
from agents.engines.base import EngineError
from agents.engines.kernel.replica_device import ReplicaDevice
from agents.protocol import ReplicaDigests, VerifyOrder

Contents = dict[int, tuple[bytes | None, list[str]]]
"""By extent: the bytes, None where the disk cannot read them all, and the blocks' digests."""


def span(order: VerifyOrder, size: int) -> tuple[int, int]:
    """Tell where in a mirror the blocks begin, and how many bytes they are."""
    start, length = order.offset_mib * CHUNK + order.first * BLOCK, order.count * BLOCK
    if not 0 < order.count <= BLOCKS or not 0 <= start <= size - length:
        raise EngineError(errno.EINVAL, f"mirror {order.mirrorid} has no such blocks")
    return start, length


def verify(
    order: VerifyOrder, devices: dict[int, ReplicaDevice], start: int, length: int
) -> tuple[ReplicaDigests, ...]:
    """Tell what the blocks are on each replica; mend first if the order names a source."""
    contents = _read_all(devices, start, length)
    if order.source and _is_as_expected(contents, order):
        _mend(devices, start, order.source, contents)
        contents = _read_all(devices, start, length)
    return tuple(ReplicaDigests(dextid, tuple(told)) for dextid, (_, told) in contents.items())


def _is_as_expected(contents: Contents, order: VerifyOrder) -> bool:
    return order.source in contents and fold(contents[order.source][1]) == order.expected


def _read_all(devices: dict[int, ReplicaDevice], start: int, length: int) -> Contents:
    if any(device.is_lost for device in devices.values()):
        raise EngineError(errno.EAGAIN, "a replica is out of reach")
    return {dextid: _read(device, start, length) for dextid, device in devices.items()}


def _read(device: ReplicaDevice, start: int, length: int) -> tuple[bytes | None, list[str]]:
    try:
        data = device.read(start, length)
    except EngineError:
        return None, [_digest_of(device, at) for at in range(start, start + length, BLOCK)]
    return data, block_digests(data)


def _digest_of(device: ReplicaDevice, offset: int) -> str:
    try:
        return digest(device.read(offset, BLOCK))
    except EngineError:
        return UNREADABLE


def _mend(devices: dict[int, ReplicaDevice], start: int, source: int, contents: Contents) -> None:
    """Write what the source has to where others have something else; durable on return."""
    data, right = contents[source]
    if data is None:
        raise EngineError(errno.EIO, f"replica {source} cannot be read")
    for dextid, device in devices.items():
        for number in _differing(right, contents[dextid][1]):
            at = number * BLOCK
            device.write(start + at, data[at : at + BLOCK])


def _differing(right: Iterable[str], told: Iterable[str]) -> list[int]:
    return [n for n, (one, other) in enumerate(zip(right, told, strict=True)) if one != other]
