"""Evacuation, maintenance and jobs, steered over the API."""

from typing import Any

import pytest

from inventory.models import AuditEntry, Disk, Priority, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.attach import attach
from volumes.models import Attachment, Job, LogicalVolume

ENOENT, EBUSY, EINVAL = 2, 16, 22
JOB_METHODS = ["pauseJob", "resumeJob", "cancelJob", "retryJob", "forceJob"]


@pytest.fixture
def volume(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, head)
    return volume


@pytest.fixture(params=["ssvrid", "pdskid"])
def place(request: Any, four: Cluster, volume: LogicalVolume) -> dict[str, int]:
    """A server, or a disk, that holds a replica."""
    disk = four.disk_of(four.replicas(volume)[0])
    return {request.param: disk.server_id if request.param == "ssvrid" else disk.pk}


def row(place: dict[str, int]) -> StorageServer | Disk:
    if "ssvrid" in place:
        return StorageServer.objects.get(pk=place["ssvrid"])
    return Disk.objects.get(pk=place["pdskid"])


def waiting_attach(four: Cluster) -> Job:
    for node in four.world.storages.values():
        node.die()
    return attach.request_attach(four.create("other"), next(iter(four.world.heads)))


def test_a_plan_says_what_would_move(four: Cluster, place: dict[str, int]) -> None:
    plan = four.call("vastsky.planEvacuation", **place)

    assert plan == {"copies": 1, "gb": 5, "stuck": 0, "reason": ""}
    assert row(place).priority == Priority.HIGH


def test_an_evacuation_is_begun_paused_resumed_and_canceled(
    four: Cluster, place: dict[str, int]
) -> None:
    eventid = four.call("vastsky.evacuate", **place)
    assert row(place).priority == Priority.EVACUATE

    four.call("vastsky.pauseJob", eventid=eventid)
    assert Job.objects.get(pk=eventid).paused
    four.call("vastsky.resumeJob", eventid=eventid)
    assert not Job.objects.get(pk=eventid).paused

    four.call("vastsky.cancelJob", eventid=eventid)
    assert Job.objects.get(pk=eventid).state == Job.State.CANCELED
    assert row(place).priority == Priority.HIGH


def test_what_is_being_drained_returns_to_service(four: Cluster, place: dict[str, int]) -> None:
    eventid = four.call("vastsky.evacuate", **place)

    four.call("vastsky.returnToService", **place)

    assert row(place).priority == Priority.HIGH
    assert Job.objects.get(pk=eventid).state == Job.State.CANCELED


def test_what_is_drained_returns_to_service_once(four: Cluster) -> None:
    eventid = four.call("vastsky.evacuate", ssvrid=1)
    four.work()
    assert Job.objects.get(pk=eventid).state == Job.State.DONE

    four.call("vastsky.returnToService", ssvrid=1)
    four.call("vastsky.returnToService", ssvrid=1)

    assert StorageServer.objects.get(pk=1).priority == Priority.HIGH
    assert AuditEntry.objects.filter(verb="return_to_service").count() == 1


def test_only_what_was_drained_returns_to_service(four: Cluster, place: dict[str, int]) -> None:
    type(row(place)).objects.update(priority=Priority.OFFLINE)

    assert four.call.fault("vastsky.returnToService", **place) == EINVAL


def test_what_is_being_evacuated_is_not_evacuated_again(
    four: Cluster, place: dict[str, int]
) -> None:
    four.call("vastsky.evacuate", **place)

    assert four.call.fault("vastsky.evacuate", **place) == EINVAL


def test_maintenance_takes_an_hour_unless_said_otherwise(
    four: Cluster, place: dict[str, int]
) -> None:
    job = Job.objects.get(pk=four.call("vastsky.maintenance", **place))

    assert job.deadline
    assert round((job.deadline - job.created).total_seconds()) == 3600
    assert four.call.fault("vastsky.maintenance", **place) == EBUSY
    assert four.call.fault("vastsky.maintenance", minutes=0, **place) == EINVAL


def test_the_list_of_jobs_tells_what_is_in_maintenance_and_until_when(
    four: Cluster, place: dict[str, int]
) -> None:
    eventid = four.call("vastsky.maintenance", **place)
    deadline = Job.objects.get(pk=eventid).deadline

    listed = four.call("vastsky.listJobs")
    (told,) = [job for job in listed if job["kind"] == "maintenance"]

    assert {name: told[name] for name in ("ssvrid", "pdskid")} == {"ssvrid": 0, "pdskid": 0} | place
    assert deadline
    assert told["until"] == f"{deadline:%Y-%m-%dT%H:%M:%SZ}"
    assert not told["paused"]


@pytest.mark.parametrize("method", ["planEvacuation", "evacuate", "maintenance"])
@pytest.mark.parametrize(
    ("place", "code"),
    [
        ({}, EINVAL),
        ({"ssvrid": 1, "pdskid": 1}, EINVAL),
        ({"ssvrid": 99}, ENOENT),
        ({"pdskid": 99}, ENOENT),
        ({"ssvrid": -1}, ENOENT),
    ],
)
def test_one_place_that_exists_is_wanted(
    four: Cluster, method: str, place: dict[str, int], code: int
) -> None:
    assert four.call.fault(f"vastsky.{method}", **place) == code


@pytest.mark.parametrize("method", JOB_METHODS)
def test_a_job_that_does_not_exist_is_enoent(four: Cluster, method: str) -> None:
    assert four.call.fault(f"vastsky.{method}", eventid=99) == ENOENT


@pytest.mark.parametrize("method", JOB_METHODS)
def test_what_cannot_be_done_to_a_job_is_a_refusal(
    four: Cluster, volume: LogicalVolume, method: str
) -> None:
    over = four.job(Job.Kind.ATTACH)

    assert four.call.fault(f"vastsky.{method}", eventid=over.pk) in {EINVAL, EBUSY}


def test_a_waiting_job_is_retried_and_canceled(four: Cluster, volume: LogicalVolume) -> None:
    job = waiting_attach(four)
    four.work()
    job.refresh_from_db()
    assert job.attempts == 1

    four.call("vastsky.retryJob", eventid=job.pk)
    job.refresh_from_db()
    assert job.attempts == 0

    four.call("vastsky.cancelJob", eventid=job.pk)
    assert Attachment.objects.get(volume=job.volume_id).state == Attachment.State.ERROR


def test_a_forced_attach_takes_what_answers(four: Cluster, volume: LogicalVolume) -> None:
    job = waiting_attach(four)

    assert four.call("vastsky.forceJob", eventid=job.pk) == 0

    job.refresh_from_db()
    assert job.forced
