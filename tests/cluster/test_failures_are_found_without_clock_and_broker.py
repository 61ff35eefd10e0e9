"""Servers that die are found and replaced whatever the wall clock and the broker do."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local import cluster as launcher
from deploy.local import manager_processes, observe, processes
from deploy.local.cluster import LocalCluster
from deploy.local.place import Place, choose
from tests.cluster import wall_clock
from tests.cluster.conftest import HASTE, LIMITS, free_port
from tests.cluster.world import World, running_world

POLICY = {**HASTE, "VASTSKY_OFFLINE_SECONDS": "6"}
HIGH, OFFLINE = 1, 4
FOUND = 20
"""Seconds, on a busy machine, for 6 s of silence that are looked for every second."""
HOUR = 3600
SETTLES = 4
"""Seconds in which what was broken is noticed by whoever depends on it."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster whose manager's wall clock can be set, where a compiler is."""
    home = tmp_path_factory.mktemp("clocks")
    cluster = LocalCluster(
        choose(str(home), str(free_port())), {**POLICY, **wall_clock.shim(home)}, LIMITS
    )
    with running_world(cluster) as world:
        yield world


@pytest.fixture
def healthy(own: World) -> Iterator[World]:
    """The cluster with a volume in use; afterwards all is mended, emptied and checked."""
    own.create("used")
    own.attach("used")
    yield own
    own.mend_and_check()


@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["an hour back", "an hour forward"])
def test_the_managers_clock_is_set(healthy: World, seconds: int) -> None:
    file = Path(healthy.cluster.environment.get("CLOCK_OFFSET_FILE", ""))
    if not file.name:
        pytest.skip("no gcc to make a wall clock that can be set")
    file.write_text(str(seconds))
    time.sleep(SETTLES)
    assert _priorities(healthy) == {HIGH}, "the jump itself is nobody's silence"

    _dies_and_is_replaced(healthy)

    healthy.detach("used")
    healthy.attach("used")
    file.write_text("0")
    time.sleep(SETTLES)
    assert _dead(healthy) == 1, "nor is the jump back"


def _hang(world: World) -> None:
    world.cluster.signal("broker", signal.SIGSTOP)


def _go(world: World) -> None:
    world.cluster.kill("broker")


def _fill(world: World) -> None:
    _tell(world.place, "CONFIG SET maxmemory 1")


def _refuse(world: World) -> None:
    _tell(world.place, "CONFIG SET requirepass secret", "CLIENT KILL TYPE normal SKIPME no")


@pytest.mark.parametrize("breaks", [_hang, _go, _fill, _refuse])
def test_the_broker_fails(healthy: World, breaks: Callable[[World], None]) -> None:
    breaks(healthy)
    time.sleep(SETTLES)

    _dies_and_is_replaced(healthy)

    assert healthy.cluster._children["worker"].poll() is None, "the worker lives"
    healthy.cluster.kill("broker")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_worker_that_looks_after_the_nodes_fails(
    healthy: World, number: signal.Signals
) -> None:
    second = processes.start(
        [*manager_processes.command(healthy.place, "worker"), "-n", "second@%h"],
        home=healthy.place.home,
        part="second",
        log=healthy.place.log("second"),
        environment=healthy.cluster.environment,
    )
    try:
        time.sleep(SETTLES)
        healthy.cluster.signal("worker", number)

        _dies_and_is_replaced(healthy)

        healthy.cluster.signal("worker", signal.SIGCONT)
        time.sleep(2 * SETTLES)
        assert _dead(healthy) == 1, "the one that comes back does no harm"
    finally:
        healthy.cluster.kill("second")
        second.wait()
        healthy.cluster.kill("worker")


def test_a_worker_that_was_stopped_for_longer_calls_nobody_silent(healthy: World) -> None:
    for number, seconds in ((signal.SIGSTOP, 15), (signal.SIGCONT, SETTLES)):
        healthy.cluster.signal("worker", number)
        time.sleep(seconds)

    assert _priorities(healthy) == {HIGH}


def test_the_launcher_replaces_a_broker_that_hangs_and_nothing_else(
    healthy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "SILENCE", 5.0)
    monkeypatch.setattr(launcher, "ASK", 1.0)
    assert _revived(healthy, 1) == []
    for offset in ("-3600", "3600", "0"):
        if file := healthy.cluster.environment.get("CLOCK_OFFSET_FILE", ""):
            Path(file).write_text(offset)
        assert _revived(healthy, 7) == []

    _hang(healthy)
    assert _revived(healthy, 9) == ["broker"]

    healthy.cluster.signal("worker", signal.SIGSTOP)
    assert _revived(healthy, 8) == ["worker"]


def _revived(world: World, seconds: float) -> list[str]:
    """Let the launcher look after the manager for a while; what it started anew."""
    revived, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        revived += world.cluster.revive()
        time.sleep(0.5)
    return revived


def _dies_and_is_replaced(world: World) -> None:
    victim = observe.holder(world.call, world.place, "used")
    began = time.monotonic()
    world.cluster.kill(victim)
    world.wait(lambda: OFFLINE in _priorities(world), f"{victim} is OFFLINE", FOUND)
    found = time.monotonic() - began
    world.wait(lambda: world.healed("used"), "three good replicas of every mirror again", 60)
    print(f"OFFLINE after {found:.1f} s, whole after {time.monotonic() - began:.1f} s")


def _priorities(world: World) -> set[int]:
    return {row["priority"] for row in world.call("listStorageServers")}


def _dead(world: World) -> int:
    return sum(row["priority"] != HIGH for row in world.call("listStorageServers"))


def _tell(place: Place, *commands: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(place.broker_socket))
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            with suppress(ConnectionError):
                connection.recv(64)
