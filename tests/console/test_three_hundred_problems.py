"""Very many causes at once are counted whole, told page by page, and cost what few cost."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.seed import Size, fill
from inventory.models import Disk, Priority
from volumes.console.pages import overview
from volumes.models import Replica

PROBLEMS = "/admin/console/problems/"
RACKS = Size(servers=30, disks=11, disk_gb=1500, heads=2, volumes=120)
FEW, MANY = 60, 300


@pytest.fixture
def racks(db: None) -> None:
    fill(RACKS)


def _fail(disks: int) -> None:
    """Let this many disks be faulty, each with all that is on it."""
    ill = Disk.objects.filter(pk__lte=disks)
    ill.update(priority=Priority.FAULTY)
    Replica.objects.filter(extent__disk__in=ill).update(status=Replica.Status.FAULTY, reason="disk")


def _ask(console: Client, address: str) -> tuple[str, int]:
    """Tell what a page says, computed anew, and how many queries it took."""
    overview.ANSWER.forget()
    with CaptureQueriesContext(connection) as queries:
        page = console.get(address).content.decode()
    return " ".join(page.split()), len(queries)


@pytest.mark.parametrize("address", [PROBLEMS, "/admin/"])
def test_three_hundred_causes_take_no_more_queries_than_sixty(
    racks: None, console: Client, address: str
) -> None:
    _fail(FEW)
    _, few = _ask(console, address)
    _fail(MANY)
    told, many = _ask(console, address)

    assert many == few
    assert f"{MANY} problems" in told
    assert len(told) < 250_000, "what a browser is sent anew every few seconds stays small"


def test_every_cause_is_on_one_of_the_pages_worst_first(racks: None, console: Client) -> None:
    _fail(MANY)
    Disk.objects.filter(pk=MANY + 1).update(priority=Priority.FAULTY)  # nothing suffers from it
    Replica.objects.filter(extent__disk=MANY + 1).delete()

    pages = [_ask(console, f"{PROBLEMS}?p={number}")[0] for number in range(1, 8)]

    named = [page.count('class="vs-card vs-problem') for page in pages]
    assert named == [50] * 6 + [1]
    assert f"pdsk-{MANY + 1:08x}" in pages[-1]
    assert "301 to 301 of 301, worst first" in pages[-1]
    assert f"{PROBLEMS}?p=6" in pages[-1]
    assert f"{PROBLEMS}live/?p=7" in pages[-1], "a refresh stays on its page"
    assert _ask(console, f"{PROBLEMS}?p=99")[0].count("301 to 301") > 0
