"""A test of a whole cluster that fails shows the ends of the cluster's logs."""

from collections.abc import Generator

import pytest

from tests.upgrade.running import Running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of all logs to the report of a test that failed."""
    report = yield
    used = getattr(item, "funcargs", {}).values()
    clusters = [getattr(thing, "cluster", thing) for thing in used]
    for cluster in clusters if report.failed else ():
        if isinstance(cluster, Running):
            for log in sorted((cluster.place.home / "logs").glob("*.log")):
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
                report.sections.append((log.name, tail))
    return report
