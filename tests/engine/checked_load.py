"""A load of writes that knows what was acknowledged, and finds what was lost."""

import struct
import threading
import time
from pathlib import Path
from typing import Self

from deploy.local.nbd import NbdClient, NbdError, Where

BLOCK = 4096


class CheckedLoad:
    """Writes without pause from a thread and remembers what was acknowledged."""

    def __init__(self, where: Path, blocks: int, stride: int = 1) -> None:
        self.where = where
        self.blocks = blocks
        self.stride = stride
        self.acknowledged: dict[int, int] = {}
        self.uncertain: dict[int, set[int]] = {}
        self.errors = 0
        self.longest = 0.0
        self.writes = 0
        self._going = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with NbdClient(self.where, timeout=30) as client:
            while self._going:
                self.writes += 1
                block = self.writes * 7919 % self.blocks
                began = time.monotonic()
                try:
                    client.write(block * self.stride * BLOCK, content(block, self.writes))
                except NbdError:
                    self.errors += 1
                    self.uncertain.setdefault(block, set()).add(self.writes)
                except ConnectionError:
                    self.uncertain.setdefault(block, set()).add(self.writes)
                    return
                else:
                    self.acknowledged[block] = self.writes
                    self.uncertain.pop(block, None)
                self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._going = False
        self._thread.join()

    def wait_for(self, writes: int) -> None:
        """Wait until so many more writes were begun."""
        wanted = self.writes + writes
        deadline = time.monotonic() + 20
        while self.writes < wanted:
            assert time.monotonic() < deadline, "the load does not get on"
            time.sleep(0.002)

    def lost(self, where: Where, export: str = "") -> list[int]:
        """List acknowledged blocks that read as something else."""
        lost = []
        with NbdClient(where, export) as client:
            for block, version in self.acknowledged.items():
                right = {version, *self.uncertain.get(block, ())}
                found = client.read(block * self.stride * BLOCK, BLOCK)
                if found not in {content(block, one) for one in right}:
                    lost.append(block)
        return lost


def content(block: int, version: int) -> bytes:
    """Make a block that tells which write it is from."""
    return struct.pack("<QQ", block, version) * (BLOCK // 16)
