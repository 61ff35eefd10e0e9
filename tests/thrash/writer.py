"""Clients that write without pause, and know what they were told."""

import random
import socket
import threading
import time
from typing import TYPE_CHECKING

from deploy.local.nbd import FUA, NbdClient, NbdError
from tests.thrash.blocks import BLOCK, ZERO, pack
from tests.thrash.figures import Figures
from tests.thrash.oracle import Oracle, Write

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 120.0
"""Seconds after which a client takes its request for lost; longer than any fault is held."""
REGION = 16
"""Blocks that lie together."""


class Writer(threading.Thread):
    """One client of one volume, with regions of its own; it writes where `link` leads."""

    def __init__(self, oracle: Oracle, regions: list[int], seed: str, figures: Figures) -> None:
        super().__init__(daemon=True, name=f"writer of {oracle.volume}")
        self._oracle = oracle
        self._regions = regions
        self._chance = random.Random(seed)
        self._figures = figures
        self._resting = threading.Event()
        self._again: Write | None = None
        self._device: NbdClient | None = None
        self.link: Path | None = None
        self.over = False

    def rest(self, seconds: float = TIMEOUT) -> bool:
        """Stop writing and let go of the device; whether that was done in time."""
        self.link = None
        return self._resting.wait(seconds)

    def cut(self) -> None:
        """Tear the connection, whatever is under way: for a volume that was fenced off its head."""
        if device := self._device:
            try:
                device.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def run(self) -> None:
        while not self.over:
            self._resting.clear()
            if (link := self.link) is None:
                self._resting.set()
                time.sleep(0.02)
                continue
            try:
                with NbdClient(link, timeout=TIMEOUT) as self._device:
                    while self.link == link and not self.over:
                        self._write(self._device)
            except OSError:
                time.sleep(0.05)

    def _write(self, device: NbdClient) -> None:
        write, flags = self._next()
        began = time.monotonic()
        try:
            self._send(device, write, flags)
        except OSError as error:
            self._figures.count("unknown")
            self._again = write
            if isinstance(error, TimeoutError):
                self._oracle.abandon(write)
            if not isinstance(error, NbdError):
                raise
            time.sleep(0.05)
        else:
            self._oracle.acknowledge(write)
            self._figures.wrote(time.monotonic() - began)
            time.sleep(self._chance.random() / 50)

    def _next(self) -> tuple[Write, int]:
        """Choose what to write: the place of a write that failed, for what is late lands there."""
        flags = FUA if self._chance.random() < 0.2 else 0
        zeroes = self._chance.random() < 0.05
        start, count = self._chance.randrange(REGION), self._chance.randint(1, 6)
        first = self._chance.choice(self._regions) + start
        count = min(count, REGION - start)
        if self._again:
            first, count, self._again = self._again.first, self._again.count, None
        return self._oracle.begin(first, count, zeroes=zeroes), flags

    def _send(self, device: NbdClient, write: Write, flags: int) -> None:
        if write.sequence == ZERO:
            device.zero(write.first * BLOCK, write.count * BLOCK)
        else:
            volume = self._oracle.volume
            data = b"".join(pack(volume, block, write.sequence) for block in write.blocks)
            device.write(write.first * BLOCK, data, flags)
        if self._chance.random() < 0.03:
            self._flush(device)

    def _flush(self, device: NbdClient) -> None:
        """Flush; an error of it says nothing of the write that went before."""
        try:
            device.flush()
        except NbdError:
            return
