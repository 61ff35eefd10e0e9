"""Agents a release older or newer than the manager work, and are told of until they are not."""

import pytest
from pytest_django import Settings

from inventory.models import HeadServer, Priority, StorageServer
from tests.contract.api import Api, add_disk, put_down, zero_everything
from volumes.reports import problems
from volumes.reports.problems import Problem, Risk

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def this_release(settings: Settings) -> None:
    settings.VASTSKY_RELEASE = "5.1.0"


def releases() -> list[Problem]:
    return [problem for problem in problems.find() if problem.key == "releases"]


def join(call: Api, number: int, **about: str) -> int:
    """Register a storage server with a disk, as an agent of some release does."""
    server = int(call("registerStorageServer", ip_data=[f"10.0.0.{number}"], **about))
    add_disk(call, server, f"/dev/{number}")
    zero_everything()
    return server


def test_an_older_and_a_newer_agent_serve_and_are_told_of_by_name(call: Api) -> None:
    join(call, 1, boot_id="b")  # 5.0 knows neither names nor releases
    join(call, 2, node_uuid="n2", host_name="south", version="5.2.0.dev0")
    join(call, 3, node_uuid="n3", host_name="north", version="5.1.0")

    assert call("createLogicalVolume", lvolname="data", capacity=5, redundancy=3)
    (problem,) = releases()
    assert problem.title == "2 servers run another release than the manager, 5.1.0"
    assert problem.cause.startswith("newer 5.2.0.dev0: south; older 5.0: ssvr-00000001. ")
    assert (problem.risk, problem.count) == (Risk.WEAR, 2)
    assert problems.is_anything_wrong()


def test_a_head_counts_as_well_and_many_are_told_by_the_first(call: Api) -> None:
    for number in range(6):
        about = {"node_uuid": f"n{number}", "host_name": f"head-{number}", "version": "5.0.9"}
        call("registerHeadServer", ip_data=[f"10.0.0.{number + 1}"], **about)

    (problem,) = releases()
    assert problem.cause.startswith("older 5.0.9: head-0, head-1, head-2, head-3 and 2 more. ")


def test_once_all_are_of_one_release_nothing_is_told(call: Api) -> None:
    about = {"ip_data": ["10.0.0.1"], "node_uuid": "n1", "host_name": "north"}
    call("registerStorageServer", **about, version="5.0.9")
    call("registerHeadServer", ip_data=["10.0.0.2"], node_uuid="n2", version="5.0.9")
    assert problems.is_anything_wrong()

    call("registerStorageServer", **about, version="5.1.0")
    put_down(HeadServer, 1, Priority.OFFLINE)  # what is out of service runs nothing
    assert releases() == []
    assert StorageServer.objects.get().version == "5.1.0"
