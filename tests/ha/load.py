"""Clients that lead volumes through their lives, and remember all that they were answered."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.ledger import BLOCK, Ledger, spread
from deploy.local.nbd import NbdClient
from vastsky_client.api import Access, Manager
from vastsky_client.api.connection import AnswerLost, NoManager, Refused

BLOCKS = 4
KEPT = 3
"""Of how many volumes one is left, with what was written to it."""


@dataclass
class Timed:
    """When calls ended, by the monotonic clock, and how long they took."""

    ends: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note(self, began: float) -> None:
        end = time.monotonic()
        self.ends.append(end)
        self.seconds.append(end - began)


class Client(threading.Thread):
    """One user: whatever it was answered has to be true at the end."""

    def __init__(self, name: str, urls: tuple[str, ...], links: Path) -> None:
        super().__init__(name=name)
        self._urls, self._links = urls, links
        self._over = threading.Event()
        self.timed = Timed()
        self.kept: dict[str, Ledger] = {}
        self.gone: set[str] = set()
        self.failures: list[str] = []

    def stop(self) -> None:
        """Begin no more volumes."""
        self._over.set()

    def run(self) -> None:
        manager = Manager(Access(managers=self._urls))
        number = 0
        while not self._over.is_set():
            try:
                self._live(manager, f"{self.name}-{number}", keep=number % KEPT == 0)
            except Exception as failure:  # noqa: BLE001  the run tells of it, and fails
                self.failures.append(f"{self.name}-{number}: {failure!r}")
                if not isinstance(failure, AnswerLost | NoManager | Refused):
                    return
            number += 1

    def _live(self, manager: Manager, name: str, *, keep: bool) -> None:
        self._ask(manager, "createLogicalVolume", lvolname=name, capacity=1, redundancy=2)
        ledger = Ledger()
        self.kept[name] = ledger
        (head, *_) = manager.list_head_servers()
        self._ask(manager, "attachLogicalVolume", lvolname=name, hsvrid=head["hsvrid"])
        with NbdClient(self._links / name) as device:
            for offset in spread(device.size - 64 * BLOCK, BLOCKS):
                ledger.write(device, offset)
        self._ask(manager, "detachLogicalVolume", lvolname=name)
        if not keep:
            self._ask(manager, "deleteLogicalVolume", lvolname=name)
            del self.kept[name]
            self.gone.add(name)

    def _ask(self, manager: Manager, method: str, **members: object) -> None:
        """Ask for what is to be so in the end: a call that comes again converges."""
        began = time.monotonic()
        manager.call(method, **members, converge=1)
        self.timed.note(began)
