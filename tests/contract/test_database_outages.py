"""A manager of several processes, whose database is contended, restarted or away."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import pytest

from agents.protocol import AttachOrder, Report
from deploy import postgres
from deploy.postgres import PostgreSQL
from tests.jobs.simulated_head import Head
from tests.jobs.simulator import SimulatedWorld, simulated_world

TICKER = """
import django, time
django.setup()
from inventory import clock
from volumes.worker import runner
while True:
    try:
        clock.move()
        runner.run_due()
    except Exception as error:
        print(error, flush=True)
    time.sleep(0.2)
"""
"""What worker and beat do, without a broker."""
MANY = 120


class Manager:
    """A web server and a worker as processes of their own, with simulated nodes."""

    def __init__(self, home: Path, url: str, world: SimulatedWorld, **settings: str) -> None:
        self.world = world
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.env = {
            **os.environ,
            "VASTSKY_HOME": str(home),
            "DATABASE_URL": url,
            "VASTSKY_HEAD_AGENT_PORT": str(world.head_port),
            "VASTSKY_STORAGE_AGENT_PORT": str(world.storage_port),
            "DJANGO_SETTINGS_MODULE": "vastsky_site.settings",
            **settings,
        }
        self.log = home / "log"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.manage("migrate", "--verbosity=0")
        log = self._stack.enter_context(self.log.open("w"))
        web = ["-m", "vastsky_site.serve", "--port", str(self.port)]
        for command in (web, ["-c", TICKER]):
            process = subprocess.Popen(
                [sys.executable, *command], env=self.env, stdout=log, stderr=log
            )
            self._stack.callback(process.wait, 20)
            self._stack.callback(process.send_signal, signal.SIGTERM)
        try:
            wait_for(self._is_up, "the web server is up")
            self._register()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def manage(self, *command: str) -> str:
        words = [sys.executable, "manage.py", *command]
        done = subprocess.run(words, env=self.env, check=True, timeout=120, capture_output=True)
        return done.stdout.decode()

    def call(self, method: str, **members: Any) -> Any:
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{self.port}/RPC2") as api:
            return getattr(api, method)({"ver": 5, **members})

    def outcome(self, method: str, **members: Any) -> Any:
        try:
            return self.call(method, **members)
        except xmlrpc.client.Fault as fault:
            return fault

    def at_once(self, method: str, names: list[str], **members: Any) -> list[xmlrpc.client.Fault]:
        """Call for all names at once; the faults."""
        with ThreadPoolExecutor(len(names)) as pool:
            one = lambda name: self.outcome(method, lvolname=name, **members)  # noqa: E731
            return [o for o in pool.map(one, names) if isinstance(o, xmlrpc.client.Fault)]

    def _is_up(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.read() == b"ok\n")
        except OSError:
            return False

    def _register(self) -> None:
        for _ in range(3):
            node = self.world.new_storage()
            node.server_id = self.call("registerStorageServer", ip_data=[node.address])
            self.world.storages[node.server_id] = node
            path, capacity = f"/disk/{node.address}", str(400 << 21)
            self.call(
                "registerPhysicalDisk",
                ssvrid=node.server_id,
                local_path=path,
                capacity=capacity,
            )
        head = self.world.new_head()
        head.server_id = self.call("registerHeadServer", ip_data=[head.address])
        self.world.heads[head.server_id] = head
        wait_for(self._is_zeroed, "all space is zeroed")

    def _is_zeroed(self) -> bool:
        return all(row["available"] == 399 for row in self.call("listStorageServers"))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"in vain: {what}")


@pytest.fixture
def world() -> Iterator[SimulatedWorld]:
    with simulated_world() as world:
        yield world


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    folder = postgres.binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgreSQL(folder) as server:
        yield server


def slow_down(world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a head need a while for each volume, one after the other."""
    attach = Head.on_attach

    def slowly(self: Head, order: AttachOrder) -> Report:
        time.sleep(0.1)
        return attach(self, order)

    monkeypatch.setattr(Head, "on_attach", slowly)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_many_attaches_and_detaches_at_once_all_succeed(
    database: str,
    tmp_path: Path,
    world: SimulatedWorld,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    url = "" if database == "sqlite" else request.getfixturevalue("server").url
    slow_down(world, monkeypatch)
    names = [f"storm-{number}" for number in range(MANY)]
    with Manager(tmp_path, url, world, VASTSKY_WAITING_CALLS="4") as manager:
        assert manager.at_once("createLogicalVolume", names, capacity=1, redundancy=2) == []
        assert manager.at_once("attachLogicalVolume", names, hsvrid=1) == []
        assert {row["bind_status"] for row in manager.call("listLogicalVolumes")} == {1}
        assert manager.at_once("detachLogicalVolume", names) == []
        assert {row["bind_status"] for row in manager.call("listLogicalVolumes")} == {0}
        assert manager.at_once("deleteLogicalVolume", names) == []
        assert manager.manage("fsck") == ""


def test_a_database_that_is_restarted_under_load_fails_no_call_and_no_job(
    tmp_path: Path, world: SimulatedWorld, server: PostgreSQL
) -> None:
    over = threading.Event()
    with Manager(tmp_path, server.url, world) as manager, ThreadPoolExecutor(12) as pool:
        uses = [pool.submit(use, manager, f"busy-{number}", over) for number in range(12)]
        for away in (0.0, 2.0, 0.5):
            time.sleep(2)
            server.restart(away)
        time.sleep(2)
        over.set()
        rounds, unsure = (sum(column) for column in zip(*(u.result() for u in uses), strict=True))

        assert rounds > 12
        assert unsure <= 12  # the answer to a COMMIT was lost: the caller is told, and looks
        assert [row["lvolname"] for row in manager.call("listLogicalVolumes")] == []
        assert manager.manage("fsck") == ""


def use(manager: Manager, name: str, over: threading.Event) -> tuple[int, int]:
    """Make, attach, detach and delete a volume again and again; rounds, and times of doubt."""
    rounds = unsure = 0
    while not over.is_set():
        rounds += 1
        for method, members in (
            ("createLogicalVolume", {"capacity": 1}),
            ("attachLogicalVolume", {"hsvrid": 1}),
            ("detachLogicalVolume", {}),
            ("deleteLogicalVolume", {}),
        ):
            said = manager.outcome(method, lvolname=name, **members)
            while isinstance(said, xmlrpc.client.Fault):
                # After a doubt a second try may find that the first one was made.
                done = {errno.EEXIST, errno.ENOENT, errno.EBUSY} if unsure else set()
                if said.faultCode in done and settled(manager, name):
                    break
                assert said.faultCode == errno.EAGAIN, said
                assert "database" in said.faultString or unsure, said
                unsure += 1
                said = manager.outcome(method, lvolname=name, **members)
    return rounds, unsure


def settled(manager: Manager, name: str) -> bool:
    rows = [row for row in manager.call("listLogicalVolumes") if row["lvolname"] == name]
    return not rows or rows[0]["bind_event"] == 0


def test_a_database_that_stays_away_is_eagain_and_the_manager_lives_on(
    tmp_path: Path, world: SimulatedWorld, server: PostgreSQL
) -> None:
    with Manager(tmp_path, server.url, world, VASTSKY_ATTACH_SECONDS="3") as manager:
        manager.call("createLogicalVolume", lvolname="kept", capacity=1)
        server.stop()
        began = time.monotonic()
        said = [
            manager.outcome(method, lvolname="kept", **members)
            for method, members in (
                ("listLogicalVolumes", {}),
                ("attachLogicalVolume", {"hsvrid": 1}),
            )
        ]
        seconds = time.monotonic() - began
        server.start()

        assert [fault.faultCode for fault in said] == [errno.EAGAIN] * 2
        assert all("database" in fault.faultString for fault in said)
        assert seconds < 10
        manager.call("attachLogicalVolume", lvolname="kept", hsvrid=1)
        assert manager.call("listLogicalVolumes", lvolname="kept")[0]["bind_status"] == 1
