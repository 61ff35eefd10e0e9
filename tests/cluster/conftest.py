"""One real cluster for all tests of this folder, started by the code behind `make demo`."""

import random
import signal
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from deploy.local import manager_processes
from deploy.local.cluster import LocalCluster
from deploy.local.place import choose
from tests.cluster.joinable import Machine, Manager, numbers
from tests.cluster.machines import Machines
from tests.cluster.world import World, running_world
from tests.console.browsing import Person, chromium, signed_in

HASTE = {
    "DATABASE_URL": "",
    "VASTSKY_RECONCILE_SECONDS": "1",
    "VASTSKY_SWEEP_GRACE_SECONDS": "5",
    "VASTSKY_AGENT_TIMEOUT": "1",
    "VASTSKY_SUSPECT_SECONDS": "2",
    "VASTSKY_OFFLINE_SECONDS": "4",
    "VASTSKY_GRACE_SECONDS": "3",
}
TIMEOUT_MS = 20_000
"""So long a page of a real cluster may take to show what it is about to show."""
SLOW = 60_000
"""Milliseconds that real nodes may take."""
LIMITS = {"shred_mib_per_s": 40, "rebuild_mib_per_s": 200}
"""Slow enough that a test can step in between."""


@pytest.fixture(scope="session", autouse=True)
def _longer_timeout() -> None:
    expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("cluster")
    cluster = LocalCluster(choose(str(home), str(free_port())), HASTE, LIMITS)
    with running_world(cluster) as world:
        yield world


@pytest.fixture
def world(running: World, request: pytest.FixtureRequest) -> Iterator[World]:
    """The running cluster; after each test it is repaired, emptied and checked."""
    yield running
    running.mend_and_check()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def person(browser: Browser, world: World) -> Iterator[Person]:
    who = ("admin", manager_processes.admin_password(world.place))
    with signed_in(browser, world.place.url, who) as somebody:
        yield somebody


@pytest.fixture(scope="session")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """A manager that machines may join."""
    manager = Manager(tmp_path_factory.mktemp("manager"))
    yield manager
    manager.web.send_signal(signal.SIGTERM)
    manager.web.wait(timeout=20)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def name() -> str:
    """A name that no other node has."""
    return f"node-{next(numbers)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of all logs to the report of a test that failed."""
    report = yield
    used = getattr(item, "funcargs", {}).values()
    homes = {thing.place.home for thing in used if isinstance(thing, World | Machines)}
    for home in homes if report.failed else ():
        for log in sorted((home / "logs").glob("*.log")):
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            report.sections.append((log.name, tail))
    return report


def free_port() -> int:
    """Find four neighbouring ports that nobody has, outside the range of outgoing connections."""
    for _ in range(100):
        first = random.randrange(20000, 32000, 4)
        if all(_is_free(first + n) for n in range(4)):
            return first
    raise RuntimeError("no four free ports were found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  asks for all addresses at once
        except OSError:
            return False
    return True
