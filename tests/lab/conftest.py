"""The lab as its tests see it. Only `make lab` starts one, so nothing here is collected without."""

from collections.abc import Generator, Iterator

import pytest

from deploy.local import observe
from tests.lab import inventory, standing, volumes
from tests.lab.capsule import is_inside
from tests.lab.cluster import RUNNING, VirtualLab

collect_ignore_glob = [] if is_inside() else ["test_*.py"]


@pytest.fixture(scope="session")
def running(pytestconfig: pytest.Config) -> VirtualLab:
    return pytestconfig.stash[RUNNING]


@pytest.fixture
def lab(running: VirtualLab) -> Iterator[VirtualLab]:
    """The lab, whole and empty; after each test it is mended, and nothing is left anywhere."""
    before = inventory.take(running)
    yield running
    mend(running)
    assert running.manage("fsck") == ""
    observe.wait(lambda: inventory.take(running) == before, "nothing is left on any node")


def mend(lab: VirtualLab) -> None:
    """Switch everything on, plug everything in, delete all volumes."""
    lab.restore()
    observe.wait(lab.is_up, "all servers and disks are up", 180)
    for head in lab.heads:
        volumes.let_go(head)
    for volume in lab.call("listLogicalVolumes"):
        standing.detach(lab, volume["lvolname"])
        lab.call("deleteLogicalVolume", lvolid=volume["lvolid"])
    observe.wait(lab.is_zeroed, "all space is zero", 180)


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
