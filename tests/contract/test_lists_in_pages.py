"""Lists a page at a time: what comes after an id, and no more than asked for."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.conftest import AddServer
from tests.contract.api import Api
from volumes.models import Job

ENOENT, EINVAL = 2, 22

pytestmark = pytest.mark.django_db

LISTS = {
    "listLogicalVolumes": "lvolid",
    "listHeadServers": "hsvrid",
    "listStorageServers": "ssvrid",
    "listPhysicalDisks": "pdskid",
    "vastsky.listJobs": "eventid",
}


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


def pages(call: Api, method: str, limit: int) -> list[Any]:
    """All of a list, read as a client reads it."""
    found: list[Any] = []
    after = 0
    while page := call(method, after=after, limit=limit):
        assert len(page) <= limit
        found += page
        after = page[-1][LISTS[method]]
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 5, 1000, 2**31 - 1])
def test_the_pages_of_a_list_are_the_list(call: Api, method: str, limit: int) -> None:
    assert pages(call, method, limit) == call(method)


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
def test_a_negative_page_is_einval(call: Api, method: str) -> None:
    assert call.fault(method, after=-1) == EINVAL
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
