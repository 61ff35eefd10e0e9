"""What was written where, by checksum: the judge of whether a byte was lost."""

import hashlib
import os
import time
from collections.abc import Callable

from deploy.local.nbd import FUA, NbdClient

BLOCK = 1 << 20


class Ledger:
    """Remembers the SHA-256 of every block that was acknowledged."""

    def __init__(self) -> None:
        self.digests: dict[int, bytes] = {}
        self.longest_write = 0.0

    @property
    def mib(self) -> int:
        return len(self.digests) * BLOCK >> 20

    def write(self, device: NbdClient, offset: int) -> None:
        """Write a block of random bytes and remember it once it was acknowledged."""
        data = os.urandom(BLOCK)
        began = time.monotonic()
        device.write(offset, data, FUA)
        self.longest_write = max(self.longest_write, time.monotonic() - began)
        self.digests[offset] = hashlib.sha256(data).digest()

    def verify(
        self,
        device: NbdClient,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[int]:
        """Read every block back; the offsets of those that differ."""
        wrong = []
        for done, (offset, digest) in enumerate(sorted(self.digests.items()), start=1):
            if hashlib.sha256(device.read(offset, BLOCK)).digest() != digest:
                wrong.append(offset)
            progress(done, len(self.digests))
        return wrong

    def copy(self) -> "Ledger":
        """Freeze what is known now, as a snapshot does."""
        frozen = Ledger()
        frozen.digests = dict(self.digests)
        return frozen


def spread(device_bytes: int, count: int, *, start: int = 0) -> list[int]:
    """Choose `count` block offsets all over a device, both ends included."""
    blocks = device_bytes // BLOCK
    stride = max(1, (blocks - 1) // max(1, count - 1))
    chosen = [min(n * stride, blocks - 1) for n in range(count - 1)] + [blocks - 1]
    return [(block + start) % blocks * BLOCK for block in chosen]
