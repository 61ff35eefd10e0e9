"""The cluster that is thrashed: two heads, four storage servers, and what may happen to them."""

import signal
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from xmlrpc.client import Fault

from deploy.local import processes
from deploy.local.cluster import LocalCluster
from deploy.local.manager_processes import MANAGER
from tests.cluster.world import World
from tests.thrash.figures import Figures

if TYPE_CHECKING:
    from deploy.postgres import PostgreSQL
    from tests.engine.small_disk import SmallDisk
    from tests.thrash.volume import Volume

HEADS = ("head-1", "head-2")
STORAGES = ("storage-1", "storage-2", "storage-3", "storage-4")
HIGH = 1
NO_ANSWER = (OSError, HTTPException, xmlrpc.client.Error, StopIteration)
"""What a call ends with whose manager, or what it asks for, is not there now."""
LISTS = {"head": ("listHeadServers", "hsvrid"), "storage": ("listStorageServers", "ssvrid")}


class Arena(World):
    """A running cluster with volumes that are written all the time, and a log of what is done."""

    def __init__(self, cluster: LocalCluster, figures: Figures) -> None:
        super().__init__(cluster)
        self.figures = figures
        self.volumes: list[Volume] = []
        self.operating = threading.Lock()
        """One attach, detach, snapshot or churn at a time."""
        self.state_disks: dict[str, SmallDisk] = {}
        self.clock: Path | None = None
        self.database: PostgreSQL | None = None
        self._began = time.monotonic()
        self._log = (cluster.place.home / "thrash.log").open("a", buffering=1)

    def note(self, text: str) -> None:
        """Write a line of the event log."""
        self._log.write(f"{time.monotonic() - self._began:8.2f}  {text}\n")

    def close(self) -> None:
        """End what runs beside the cluster."""
        self.background.shutdown()
        self._log.close()

    def attempt(self, method: str, **members: object) -> bool:
        """Call a method whose outcome is left to chance; whether it was done."""
        said = ", ".join(f"{name}={value}" for name, value in members.items())
        try:
            self.call(method, **members)
        except Fault as fault:
            self.note(f"{method}({said}): {fault.faultCode} {fault.faultString}")
            return False
        except NO_ANSWER as error:
            self.note(f"{method}({said}): {error}")
            return False
        self.note(f"{method}({said}): done")
        return True

    # -- names ------------------------------------------------------------------------------------

    def link(self, head: str, name: str) -> Path:
        return self.place.links_of(head) / name

    def row(self, node: str) -> dict[str, object]:
        """Tell what the manager says of a node."""
        method, _ = LISTS[node.partition("-")[0]]
        wanted = list(self.place.node(node).addresses)
        return next(row for row in self.call(method) if row["ip_data"] == wanted)

    def server_id(self, node: str) -> int:
        number = self.row(node)[LISTS[node.partition("-")[0]][1]]
        assert isinstance(number, int)
        return number

    def head_of(self, hsvrid: int) -> str:
        return next(head for head in HEADS if self.server_id(head) == hsvrid)

    def node_of(self, ssvrid: int) -> str:
        return next(node for node in STORAGES if self.server_id(node) == ssvrid)

    # -- power ------------------------------------------------------------------------------------

    def kill(self, part: str) -> None:
        """Cut the power of a part."""
        killed = self.cluster.kill(part)
        self.figures.count("kills", killed)
        self.note(f"{part}: {killed} processes killed")

    def power_on(self, *parts: str) -> None:
        """Start parts whose main process does not run; what a node's agent left running stays."""
        for part in parts:
            if self.cluster.lives(part):
                continue
            if part in MANAGER:
                self.cluster.kill(part)
            self.note(f"{part}: started")
            self.cluster.launch(part)

    def find(
        self, part: str, which: Callable[[processes.Process], bool] = lambda _: True
    ) -> list[processes.Process]:
        """List processes of a part, oldest first."""
        found = processes.marked(self.place.home, part)
        return sorted(filter(which, found), key=lambda process: (process.started, process.pid))

    def send(self, found: list[processes.Process], number: signal.Signals) -> None:
        for process in found:
            process.send(number)
            self.note(f"{process.part}: {number.name} to {process.pid} ({name_of(process)})")
        if number == signal.SIGKILL:
            self.figures.count("kills", len(found))


def name_of(process: processes.Process) -> str:
    """Tell the kernel's name of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_engine(process: processes.Process) -> bool:
    """Tell whether a node's process is one that its agent detached: it leads no session of ours."""
    try:
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-I" in words[:3]
