"""Patrol the disks of a storage server: can every written GB be read?"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable

from agents.node.storage.blocks import data_segments, read_medium
from agents.node.storage.labelled_disk import OpenDisk
from agents.ondisk import GB, MIB
from agents.rate_limit import RateLimit

logger = logging.getLogger(__name__)

PASS_SECONDS = 600.0
READ_BYTES = MIB


class Patrol:
    """Reads all that is written on every disk, slowly, for ever, and counts what it read."""

    def __init__(
        self,
        disks: Iterable[OpenDisk],
        bad_blocks: Callable[[OpenDisk, list[int]], None],
        rate: RateLimit,
    ) -> None:
        self._disks = disks
        self._bad_blocks = bad_blocks
        self._rate = rate
        self._stop = threading.Event()
        self.read_bytes = self.bad_blocks = 0

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="patrol", daemon=True).start()

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            for disk in self._disks:
                try:
                    self.read_disk(disk)
                except Exception:
                    logger.exception("disk %s: patrol failed", disk.uuid)
            self._stop.wait(max(PASS_SECONDS - (time.monotonic() - began), 1))

    def read_disk(self, disk: OpenDisk) -> None:
        """Read one disk once and tell which GB cannot be read."""
        bad = [
            block
            for block in range(disk.label.capacity_gb)
            if disk.in_use and not self._is_readable(disk, block)
        ]
        if bad:
            self.bad_blocks += len(bad)
            logger.error("disk %s: GB %s cannot be read", disk.uuid, bad)
            self._bad_blocks(disk, bad)

    def _is_readable(self, disk: OpenDisk, block: int) -> bool:
        try:
            for start, stop in data_segments(disk.fd, block * GB, (block + 1) * GB):
                for offset in range(start, stop, READ_BYTES):
                    size = min(READ_BYTES, stop - offset)
                    self._rate.pay(size, self._stop)
                    read_medium(disk.fd, offset, size)
                    self.read_bytes += size
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            logger.warning("disk %s: patrol: %s", disk.uuid, error)
        return True
