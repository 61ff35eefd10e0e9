"""shutdownAll: what was shut down is back when it is started anew, or when a person says so."""

import errno
from typing import Any

import pytest

from inventory.models import AuditEntry, Priority
from tests.contract.api import Api, add_disk
from volumes.reports import problems

HEAD, STORAGE = ["10.0.9.1"], ["10.0.0.1"]
KINDS = [("registerHeadServer", HEAD), ("registerStorageServer", STORAGE)]
RUNS = {"boot_id": "boot", "started": "first"}


@pytest.fixture
def down(api: Api, db: None) -> list[int]:
    """A head and a storage server with a disk, all shut down; the ids of the two."""
    ids = [api(method, ip_data=address, **RUNS) for method, address in KINDS]
    add_disk(api, ids[1], "/dev/disk/by-id/first")
    api("shutdownAll")
    return ids


def priorities(api: Api) -> list[int]:
    lists = ("listHeadServers", "listStorageServers", "listPhysicalDisks")
    return [api(method)[0]["priority"] for method in lists]


@pytest.mark.parametrize(("method", "address"), KINDS)
def test_an_agent_that_runs_still_does_not_undo_it(
    api: Api, down: list[int], method: str, address: list[str]
) -> None:
    assert api.fault(method, ip_data=address, **RUNS) == errno.EAGAIN

    assert priorities(api) == [Priority.OFFLINE, Priority.HALT, Priority.HALT]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "says",
    [
        {"boot_id": "boot", "started": "second"},  # the agent was started anew
        {"boot_id": "other"},  # an older agent, after a reboot
        {},  # a person, or one of the first agents, which register when they are started
    ],
)
def test_what_is_started_anew_is_back(
    api: Api, down: list[int], number: int, says: dict[str, Any]
) -> None:
    method, address = KINDS[number]

    assert api(method, ip_data=address, **says) == down[number]

    assert priorities(api)[number] == Priority.HIGH


def test_an_older_agent_in_the_same_boot_is_taken_for_one_that_runs_still(
    api: Api, down: list[int]
) -> None:
    assert api.fault("registerHeadServer", ip_data=HEAD, boot_id="boot") == errno.EAGAIN


def test_a_person_lets_everything_start_again(api: Api, down: list[int]) -> None:
    assert any("shut down" in problem.title for problem in problems.find())

    assert api("vastsky.resume") == 2
    assert [api(method, ip_data=address, **RUNS) for method, address in KINDS] == down
    add_disk(api, down[1], "/dev/disk/by-id/first")

    assert priorities(api) == [Priority.HIGH] * 3
    assert not any("shut down" in problem.title for problem in problems.find())
    assert AuditEntry.objects.filter(verb="resume").count() == 1


def test_there_is_nothing_to_resume_where_nothing_is_shut_down(api: Api, head: int) -> None:
    assert api("vastsky.resume") == 0
    assert not AuditEntry.objects.filter(verb="resume").exists()


def test_what_is_silent_comes_back_by_itself(api: Api, db: None) -> None:
    number = api("registerStorageServer", ip_data=STORAGE, **RUNS)
    api("notifyFailure", target=2, targetid=number)

    assert api("registerStorageServer", ip_data=STORAGE, **RUNS) == number


def test_an_agent_that_was_started_anew_may_be_shut_down_again(api: Api, down: list[int]) -> None:
    again = {**RUNS, "started": "second"}
    api("registerHeadServer", ip_data=HEAD, **again)
    api("shutdownAll")

    assert api.fault("registerHeadServer", ip_data=HEAD, **again) == errno.EAGAIN
    assert api("registerHeadServer", ip_data=HEAD, **RUNS) == down[0]
