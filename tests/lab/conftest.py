"""The lab as its tests see it. Only `make lab` starts one, so nothing here is collected without."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from tests.lab import inventory, standing, volumes
from tests.lab.capsule import is_inside
from tests.lab.cluster import RUNNING, VirtualLab

collect_ignore_glob = [] if is_inside() else ["test_*.py"]


interrupted = threading.Event()
"""Ctrl-C: the lab is about to end, and there is nothing to be mended any more."""


@pytest.fixture(scope="session")
def running(pytestconfig: pytest.Config) -> VirtualLab:
    return pytestconfig.stash[RUNNING]


@pytest.fixture
def lab(running: VirtualLab) -> Iterator[VirtualLab]:
    """The lab, whole and empty; after each test it is mended, and nothing is left anywhere."""
    running.await_readiness()
    before = inventory.take(running)
    yield running
    if interrupted.is_set():
        return
    mend(running)
    assert running.manage("fsck") == ""
    nothing_is_left(running, before)


def nothing_is_left(lab: VirtualLab, before: inventory.Inventory, seconds: float = 90) -> None:
    """Wait until no guest has anything that it had not before."""
    deadline = time.monotonic() + seconds
    while left := inventory.take(lab) - before:
        assert time.monotonic() < deadline, left


def mend(lab: VirtualLab) -> None:
    """Switch everything on, plug everything in, delete all volumes."""
    lab.restore()
    left = lab.call("listLogicalVolumes")
    for head in lab.heads if left else ():
        volumes.let_go(head)
    for volume in sorted(left, key=lambda volume: -len(volume["associated_to"])):  # snapshots first
        if not volume["associated_to"]:
            standing.detach(lab, volume["lvolname"])
        lab.call("deleteLogicalVolume", lvolid=volume["lvolid"])
    lab.await_readiness()


def pytest_keyboard_interrupt() -> None:
    interrupted.set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of all logs to the report of a test that failed."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("running")
    if report.failed and isinstance(lab, VirtualLab):
        report.sections += lab.logs()
    return report
