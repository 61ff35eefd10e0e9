"""Machines for agents: addresses, a manager that records calls, real agent processes."""

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from agents.client import AgentUnreachable, HeadAgent, StorageAgent
from agents.protocol import ExtentRef, HeadState, Progress, Report, StorageState

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def addresses() -> tuple[str, str]:
    """Two loopback addresses that no other test uses."""
    octets = random.SystemRandom().sample(range(20, 250), 3)
    return f"127.{octets[0]}.{octets[1]}.1", f"127.{octets[0]}.{octets[2]}.2"


@pytest.fixture
def free_port(addresses: tuple[str, str]) -> Callable[[], int]:
    def pick() -> int:
        with socket.create_server((addresses[0], 0)) as listener:
            return int(listener.getsockname()[1])

    return pick


class FakeManager:
    """Records every call; `faults` maps a method to the errnos its next calls are refused with."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, list[int]] = {}
        self.answers: dict[str, Any] = {"vastsky.clusterInfo": {"cluster": "c1", "incarnation": 1}}
        self.ids = itertools.count(1)
        self._server = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", port), logRequests=False)
        self._server._dispatch = self._answer  # type: ignore[method-assign]  # the documented hook
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/RPC2"

    def told(self, method: str) -> list[dict[str, Any]]:
        return [struct for name, struct in list(self.calls) if name == method]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, method: str, params: Any) -> Any:
        self.calls.append((method, params[0]))
        if self.faults.get(method):
            code = self.faults[method].pop(0)
            if code:
                raise xmlrpc.client.Fault(code, os.strerror(code))
        if method in self.answers:
            return self.answers[method]
        if method.startswith("list"):
            return []
        return next(self.ids) if method.startswith("register") else 0


@pytest.fixture
def manager() -> Iterator[FakeManager]:
    manager = FakeManager()
    yield manager
    manager.stop()


class Node:
    """An agent process and its configuration."""

    role = ""

    def __init__(self, folder: Path, addresses: tuple[str, str], port: int) -> None:
        self.folder = folder
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {
            "addresses": list(addresses),
            "port": port,
            "state_dir": str(folder / "state"),
        }

    def state(self) -> Any:
        raise NotImplementedError

    def write_config(self) -> None:
        self.config.write_text(tomli_w.dumps(self.settings))

    def start(self) -> None:
        """Start the agent and wait until it answers."""
        self.write_config()
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "agents", self.role, "--config", str(self.config)]
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        wait_until(self.state)

    def end(self, how: int = signal.SIGTERM) -> None:
        """End the agent process; what its engine runs lives on."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        self.end()
        command = [sys.executable, "-m", "agents", self.role, "--config", str(self.config)]
        subprocess.run([*command, "--stop-engine"], cwd=ROOT, check=True, timeout=30)


class StorageNode(Node):
    """A storage agent process, its disks and its configuration."""

    role = "storage"

    def __init__(self, folder: Path, addresses: tuple[str, str], ports: tuple[int, int]) -> None:
        super().__init__(folder, addresses, ports[0])
        self.settings["data_port"] = ports[1]
        self.disks: list[dict[str, Any]] = []
        self.settings["disks"] = self.disks
        self.agent = StorageAgent(addresses, ports[0])
        self.add_disk("disk-1.img", create_gb=4)

    def move(self, *addresses: str) -> None:
        """Have the agent listen elsewhere from its next start on."""
        self.settings["addresses"] = list(addresses)
        self.agent = StorageAgent(addresses, self.settings["port"])

    def add_disk(self, name: str, **settings: Any) -> Path:
        path = self.folder / name
        self.disks.append({"path": str(path), **settings})
        return path

    @property
    def disk_path(self) -> Path:
        return Path(self.disks[0]["path"])

    @property
    def data_server_pid(self) -> int:
        return int(json.loads((self.folder / "state" / "data.lock").read_text())["pid"])

    def state(self) -> StorageState | None:
        with contextlib.suppress(AgentUnreachable):
            return self.agent.state()
        return None

    def registered(self) -> StorageState:
        """Wait until every disk has its number."""

        def numbered() -> StorageState | None:
            state = self.state()
            ready = state and state.disks and all(disk.pdskid for disk in state.disks)
            return state if ready else None

        state: StorageState = wait_until(numbered)
        return state

    def extent(
        self, offset_gb: int = 0, size_gb: int = 1, *, dextid: int = 100, generation: int = 1
    ) -> ExtentRef:
        state = self.state()
        assert state
        return ExtentRef(dextid, generation, state.disks[0].disk, offset_gb, size_gb)

    def await_end(self, eventid: int, order: int = 1) -> Report:
        return await_end(self.agent, eventid, order)


class HeadNode(Node):
    """A head agent process and its links."""

    role = "head"

    def __init__(self, folder: Path, addresses: tuple[str, str], port: int, run_dir: Path) -> None:
        super().__init__(folder, addresses, port)
        self.links = folder / "vas"
        self.settings |= {"links_dir": str(self.links), "run_dir": str(run_dir)}
        self.settings["device"] = "socket"  # whatever this machine's kernel can
        self.agent = HeadAgent(addresses, port)

    def state(self) -> HeadState | None:
        with contextlib.suppress(AgentUnreachable):
            return self.agent.state()
        return None

    def await_end(self, eventid: int, order: int = 1) -> Report:
        return await_end(self.agent, eventid, order)


def await_end(agent: HeadAgent | StorageAgent, eventid: int, order: int) -> Report:
    """Wait until an order has ended; its report."""

    def ended() -> Report | None:
        report = agent.report(eventid, order)
        return report if report.progress in {Progress.DONE, Progress.FAILED} else None

    report: Report = wait_until(ended, 30)
    return report


@pytest.fixture
def make_node(
    tmp_path: Path, addresses: tuple[str, str], free_port: Callable[[], int], manager: FakeManager
) -> Iterator[Callable[[], StorageNode]]:
    """Make storage nodes that are not started yet."""
    nodes: list[StorageNode] = []

    def make() -> StorageNode:
        folder = tmp_path / f"storage-{len(nodes)}"
        folder.mkdir()
        node = StorageNode(folder, addresses, (free_port(), free_port()))
        node.settings["manager"] = manager.url
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        if node.config.exists():
            node.stop()


@pytest.fixture
def node(make_node: Callable[[], StorageNode]) -> StorageNode:
    """A storage node whose agent runs and is registered."""
    node = make_node()
    node.start()
    node.registered()
    return node


@pytest.fixture
def head(
    tmp_path: Path, addresses: tuple[str, str], free_port: Callable[[], int], manager: FakeManager
) -> Iterator[HeadNode]:
    """A head whose agent runs and is registered."""
    folder = tmp_path / "head"
    folder.mkdir()
    with tempfile.TemporaryDirectory() as run_dir:  # short enough for sockets
        head = HeadNode(folder, addresses, free_port(), Path(run_dir))
        head.settings["manager"] = manager.url
        head.start()
        wait_until(lambda: manager.told("registerHeadServer"))
        yield head
        head.stop()
