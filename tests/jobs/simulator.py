"""Simulated nodes: real XML-RPC servers on loopback that keep books instead of bytes.

They follow the rules of agents/protocol.py (epochs, marks, repeats answered from a journal), so the
manager's decisions can be tested in milliseconds; the real agents are tested in tests/agents and
tests/cluster.
"""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agents.checksums import BLOCKS
from agents.protocol import (
    ReplicaMark,
)
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage

_hosts = itertools.count(10)
_beats = itertools.count(1)


@dataclass
class SimulatedWorld:
    """All simulated machines, the marks on their disks, and the digests of what is no hole.

    `hot` are chunks that a client overwrites all the time: asked twice they never are the same.
    """

    head_port: int
    storage_port: int
    marks: dict[int, ReplicaMark] = field(default_factory=dict)
    contents: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    hot: set[tuple[int, int]] = field(default_factory=set)
    heads: dict[int, Head] = field(default_factory=dict)
    storages: dict[int, Storage] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def mark(self, dextid: int) -> ReplicaMark:
        return self.marks.get(dextid, ReplicaMark(dextid, 0, 0, clean=True))

    def blocks(self, dextid: int, chunk: int) -> list[str]:
        blocks = self.contents.get((dextid, chunk), [""] * BLOCKS)
        if (dextid, chunk) in self.hot:
            place = next(_beats) % BLOCKS
            return [*blocks[:place], f"v{next(_beats)}", *blocks[place + 1 :]]
        return list(blocks)

    def write(self, dextid: int, chunk: int, first: int, digests: list[str]) -> None:
        blocks = self.contents.setdefault((dextid, chunk), [""] * BLOCKS)
        blocks[first : first + len(digests)] = digests

    def settle(self, dextids: list[int], chunk: int) -> None:
        """Let a client's writes land: under a range lock nothing is in flight."""
        self.hot -= {(dextid, chunk) for dextid in dextids}

    def new_storage(self) -> Storage:
        node = Storage(self, f"127.21.0.{next(_hosts) % 240}", self.storage_port)
        node.start()
        return node

    def new_head(self) -> Head:
        node = Head(self, f"127.22.0.{next(_hosts) % 240}", self.head_port)
        node.start()
        return node

    def stop(self) -> None:
        for node in [*self.heads.values(), *self.storages.values()]:
            node.die()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def simulated_world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(free_port(), free_port())
    try:
        yield world
    finally:
        world.stop()
