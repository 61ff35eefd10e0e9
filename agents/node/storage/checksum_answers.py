"""Answer which contents an extent has, by digests read from the medium at a bounded rate."""

import errno
import threading
import time
from collections.abc import Callable

from agents.checksums import BLOCK, BLOCKS, CHUNK, UNREADABLE, ZERO, block_digests, digest
from agents.node.fences import Stale
from agents.node.storage.blocks import data_segments, read_medium
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB, age_of
from agents.protocol import ChecksumQuestion, ChecksumReply
from agents.rate_limit import RateLimit

ANSWER_SECONDS = 3.0
"""Until then an answer is made as long as it was asked for; the manager waits 10 s."""
MOST_FINE = 8
"""Chunks whose blocks are told in one answer."""


class ChecksumAnswers:
    """Reads extents for whoever compares replicas; one rate for all who ask at once."""

    def __init__(self, disks: Disks, admit: Callable[[int], object], rate: RateLimit) -> None:
        self._disks = disks
        self._admit = admit
        self._rate = rate
        self._never = threading.Event()

    def answer(self, question: ChecksumQuestion) -> ChecksumReply:
        """Digest what is asked for, or the beginning of it."""
        self._admit(question.incarnation)
        extent = question.extent
        disk = self._disks.locate(extent)
        newest = disk.super_extent.age(extent.offset_gb, extent.size_gb)
        if age_of(extent.generation, shredded=False) < newest:
            raise Stale(f"generation {extent.generation} of extent {extent.dextid} is stale")
        start = max(0, question.offset_mib) * CHUNK
        count = min(question.count, MOST_FINE) if question.fine else question.count
        end = min(start + count * CHUNK, extent.size_gb * GB)
        digests, chunks = self._digests(disk, extent.offset_gb * GB, start, end, fine=question.fine)
        mark = disk.super_extent.read_mark(extent.dextid, extent.offset_gb)
        return ChecksumReply(chunks, tuple(digests), mark)

    def _digests(
        self, disk: OpenDisk, base: int, start: int, end: int, *, fine: bool
    ) -> tuple[list[str], int]:
        until = time.monotonic() + ANSWER_SECONDS
        found: list[str] = []
        chunks = 0
        for offset in range(base + start, base + end, CHUNK):
            if chunks and time.monotonic() > until:
                break
            found += self._of_chunk(disk.fd, offset, fine=fine)
            chunks += 1
        return found, chunks

    def _of_chunk(self, fd: int, offset: int, *, fine: bool) -> list[str]:
        if not any(data_segments(fd, offset, offset + CHUNK)):
            return [ZERO] * (BLOCKS if fine else 1)
        self._rate.pay(CHUNK, self._never)
        data = _read(fd, offset, CHUNK)
        if data is not None:
            return block_digests(data) if fine else [digest(data)]
        if not fine:
            return [UNREADABLE]
        blocks = (_read(fd, at, BLOCK) for at in range(offset, offset + CHUNK, BLOCK))
        return [UNREADABLE if block is None else digest(block) for block in blocks]


def _read(fd: int, offset: int, size: int) -> bytes | None:
    """Read from the medium; None where it cannot be read."""
    try:
        return read_medium(fd, offset, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
