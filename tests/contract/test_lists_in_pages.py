"""Lists a page at a time: what comes after an id, and no more than asked for."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.conftest import AddServer
from tests.contract.api import Api
from volumes.models import BlockContent, Job, LogicalVolume, Mirror, Orphan, UnequalBlock

ENOENT, EINVAL = 2, 22

pytestmark = pytest.mark.django_db

LISTS = {
    "listLogicalVolumes": "lvolid",
    "listHeadServers": "hsvrid",
    "listStorageServers": "ssvrid",
    "listPhysicalDisks": "pdskid",
    "vastsky.listJobs": "eventid",
    "vastsky.listNodes": "id",
    "vastsky.listTokens": "name",
    "vastsky.listOrphans": "id",
    "vastsky.listUnequalBlocks": "blockid",
    "vastsky.listWaiting": "lvolid",
}
"""What of an element the next page comes after."""


@pytest.fixture
def cluster(call: Api, add_server: AddServer) -> None:
    """Five of everything, each volume with a snapshot that comes pages later."""
    for _ in range(5):
        add_server()
    for number in range(5):
        call("registerHeadServer", ip_data=[f"10.7.0.{number + 1}"])
        call("createLogicalVolume", lvolname=f"v{number}", capacity=1)
    for number in range(5):
        call("createSnapshot", snapshot_lvolname=f"s{number}", origin_lvolname=f"v{number}")
    for ssvrid in range(1, 6):
        call("vastsky.maintenance", ssvrid=ssvrid)
        call("vastsky.createToken", name=f"t{(ssvrid * 3) % 5}", role="reader")
    what_went_wrong()


def what_went_wrong() -> None:
    """What nodes report: the last volume waits longest, of each something differs, orphans."""
    now = timezone.now()
    for number, volume in enumerate(LogicalVolume.objects.filter(origin=None).order_by("pk")):
        since = now - timedelta(minutes=number)
        LogicalVolume.objects.filter(pk=volume.pk).update(waiting_since=since)
        mirror = Mirror.objects.get(volume=volume)
        block = UnequalBlock.objects.create(mirror=mirror, offset_mib=0, first=0, count=1)
        BlockContent.objects.create(block=block, dextid=1, server_id=1, digest="")
        Orphan.objects.create(kind=Orphan.Kind.GROUP, server=1, lvolid=number, epoch=1)


def pages(call: Api, method: str, limit: int) -> list[Any]:
    """All of a list, read as a client reads it."""
    key = LISTS[method]
    page = call(method, limit=limit)
    found = list(page)
    while page:
        assert len(page) <= limit
        after = page[-1][key]
        page = call(method, after=after, limit=limit)
        assert after not in [row[key] for row in page]
        found += page
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("method", LISTS)
def test_the_pages_of_a_list_are_the_list(call: Api, method: str) -> None:
    every = call(method)
    assert len(every) >= 5

    for limit in (1, 2, 5, 7, 1000, 2**31 - 1):
        found = pages(call, method, limit)
        if method == "vastsky.listWaiting":  # as a whole it has who waits longest first
            found.reverse()
        assert found == every


@pytest.mark.usefixtures("cluster")
def test_a_list_after_an_id_goes_to_its_end(call: Api) -> None:
    every = call("listLogicalVolumes")

    assert call("listLogicalVolumes", after=every[3]["lvolid"]) == every[4:]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("method", LISTS)
def test_a_page_asks_the_database_as_often_whatever_its_length(call: Api, method: str) -> None:
    asked = []
    for limit in (1, 5):
        with CaptureQueriesContext(connection) as queries:
            call(method, limit=limit)
        asked.append(len(queries))

    assert asked[0] == asked[1]


@pytest.mark.parametrize("method", LISTS)
def test_a_page_that_cannot_be_is_einval(call: Api, method: str) -> None:
    if method != "vastsky.listTokens":  # where any text is what names may be beyond
        nothing = "ssvr-1" if method == "vastsky.listNodes" else -1
        assert call.fault(method, after=nothing) == EINVAL
    assert call.fault(method, limit=-1) == EINVAL


@pytest.mark.usefixtures("cluster")
def test_one_job_is_shown_also_when_it_is_over(call: Api) -> None:
    job = call("vastsky.listJobs")[0]
    assert call("vastsky.showJob", eventid=job["eventid"]) == job
    assert job["state"] == "open"

    call("vastsky.cancelJob", eventid=job["eventid"])

    shown = call("vastsky.showJob", eventid=job["eventid"])
    assert shown["state"] == "canceled"
    assert Job.objects.filter(state=Job.State.OPEN, pk=job["eventid"]).exists() is False
    assert call.fault("vastsky.showJob", eventid=9999) == ENOENT
