"""A node that works for ever: the job ends as ERROR, long work becomes a problem to be seen."""

import errno
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xmlrpc.client import Fault

import pytest
from pytest_django import Settings

from agents.protocol import Progress, Report
from inventory import clock
from inventory.fair_places import FairPlaces
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Attachment, Job, LogicalVolume
from volumes.reports import problems
from volumes.worker import runner

ENDLESS = [Progress.RUNNING, Progress.UNKNOWN]


@pytest.fixture
def hurried(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.VASTSKY_ATTACH_SECONDS = 2
    monkeypatch.setattr(runner, "OWN_STEPS", 1.0)  # the simulated nodes answer at once


def make_endless(head: Head, method: str, progress: Progress = Progress.RUNNING) -> None:
    """Let a head answer for ever that it is at it, or that it knows of nothing."""

    def answer(order: Any) -> Report:
        return Report(order.eventid, order.order, progress)

    setattr(head, f"on_{method}", answer)


def told_within(seconds: float, call: Callable[[], Any]) -> Fault:
    began = time.monotonic()
    with pytest.raises(Fault) as caught:
        call()
    assert time.monotonic() - began < seconds
    return caught.value


@pytest.mark.parametrize("progress", ENDLESS)
def test_an_attach_that_never_ends_is_an_error_with_its_cause(
    four: Cluster, head: Head, hurried: None, progress: Progress
) -> None:
    volume = four.create()
    make_endless(head, "attach", progress)

    fault = told_within(4, lambda: four.attach(volume, head))

    assert fault.faultCode == errno.ETIMEDOUT
    assert four.state(volume) == "error"
    assert "the head is assembling the volume" in Attachment.objects.get().error
    del head.on_attach
    four.detach(volume)
    assert four.state(volume) == "detached"


@pytest.mark.parametrize("progress", ENDLESS)
def test_a_detach_that_never_ends_is_an_error_with_its_cause(
    four: Cluster, head: Head, volume: LogicalVolume, hurried: None, progress: Progress
) -> None:
    make_endless(head, "detach", progress)

    fault = told_within(4, lambda: four.detach(volume))

    assert fault.faultCode == errno.ETIMEDOUT
    assert four.state(volume) == "error"
    assert "the head is closing the volume" in Attachment.objects.get().error


def test_a_snapshot_that_never_ends_leaves_nothing(
    four: Cluster, head: Head, volume: LogicalVolume, hurried: None
) -> None:
    make_endless(head, "snapshot")

    fault = told_within(
        4, lambda: four.call("createSnapshot", snapshot_lvolname="s", origin_lvolid=volume.pk)
    )

    assert fault.faultCode == errno.ETIMEDOUT
    assert [row["lvolname"] for row in four.call("listLogicalVolumes")] == ["data"]
    assert four.job(Job.Kind.SNAPSHOT).state == Job.State.FAILED


def test_a_snapshot_that_is_never_let_go_of_stays_and_is_told(
    four: Cluster, head: Head, volume: LogicalVolume, hurried: None
) -> None:
    four.call("createSnapshot", snapshot_lvolname="s", origin_lvolid=volume.pk)
    make_endless(head, "unsnapshot")

    fault = told_within(4, lambda: four.call("deleteLogicalVolume", lvolname="s"))

    assert fault.faultCode == errno.ETIMEDOUT
    assert four.job(Job.Kind.UNSNAPSHOT).state == Job.State.FAILED
    assert LogicalVolume.objects.filter(name="s").exists()


def test_a_job_that_nobody_waits_for_any_more_passes_its_deadline_too(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    make_endless(head, "attach")
    job = four.begin_attach(volume, head)
    four.work()
    assert four.state(volume) == "binding"

    Job.objects.filter(pk=job.pk).update(deadline=clock.now() - timedelta(seconds=1))
    four.work()

    assert four.state(volume) == "error"
    assert four.job(Job.Kind.ATTACH).errno == errno.ETIMEDOUT


# -- the caller -----------------------------------------------------------------------------------


def test_a_caller_whose_turn_does_not_come_is_told_in_time_and_its_work_goes_on(
    four: Cluster, head: Head, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    places = FairPlaces(1)
    monkeypatch.setattr(runner, "_places", places)
    places.take(1)  # by a call that waits for a node

    fault = told_within(4, lambda: four.attach(volume, head))

    job = four.job(Job.Kind.ATTACH)
    assert fault.faultCode == errno.ETIMEDOUT
    assert f"under way as event {job.pk}" in fault.faultString
    four.work()
    assert four.state(volume) == "bound"
    places.give_back()
    four.detach(volume)


def test_a_caller_in_line_hears_of_the_end_that_workers_made(
    racing_four: Cluster, race: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = next(iter(racing_four.world.heads.values()))
    volume = racing_four.create()
    places = FairPlaces(1)
    monkeypatch.setattr(runner, "_places", places)
    places.take(1)

    def work() -> None:
        while not Job.objects.filter(kind=Job.Kind.ATTACH).exists():
            time.sleep(0.01)
        racing_four.work()

    assert race(lambda: racing_four.attach(volume, head), work) == [None, None]


# -- long work ------------------------------------------------------------------------------------


def later(minutes: int) -> None:
    """Let time have passed for all open jobs, of which a worker took the steps all the while."""
    for job in Job.objects.filter(state=Job.State.OPEN):
        ago = timedelta(minutes=minutes)
        Job.objects.filter(pk=job.pk).update(
            since=job.since - ago, moved=job.moved and job.moved - ago
        )


def titles() -> list[str]:
    return [problem.title for problem in problems.find()]


def test_a_shred_that_does_not_get_on_is_a_problem(four: Cluster, idle: LogicalVolume) -> None:
    for node in four.world.storages.values():
        node.hold_shreds = True
    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.reconcile()
    four.work()
    assert titles() == []

    later(6)
    four.work()

    assert problems.is_anything_wrong()
    stuck = [problem for problem in problems.find() if "does not get on" in problem.title]
    assert {problem.title.split()[0] for problem in stuck} == {"shred"}
    assert all("nothing has come of it" in problem.cause for problem in stuck)


def test_a_shred_that_gets_on_again_is_a_problem_no_more(
    four: Cluster, idle: LogicalVolume
) -> None:
    node = four.node_of(four.replicas(idle)[0])
    node.hold_shreds = True
    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.reconcile()
    four.work()
    node.die()
    later(2)
    four.work(3)
    assert any("does not get on" in title for title in titles())

    node.start()
    (order,) = node.told("shred")
    node.reports[order.eventid, order.order] = Report(
        order.eventid, order.order, Progress.RUNNING, 50, 100
    )
    four.work()

    assert not any("does not get on" in title for title in titles())


def test_a_rebuild_that_does_not_get_on_is_a_problem(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lost = four.replicas(volume)[0]
    head.lose(lost.pk, "io")
    four.call("notifyFailure", target=4, targetid=lost.pk, reason="io")
    four.work(2)
    assert four.job(Job.Kind.REBUILD).ordered
    assert not any("does not get on" in title for title in titles())

    later(6)
    four.work()

    assert any("rebuild" in title and "does not get on" in title for title in titles())


def test_an_evacuation_without_another_place_is_a_problem(
    cluster: Cluster, settings: Settings
) -> None:
    nodes = [cluster.add_storage() for _ in range(3)]
    cluster.create()
    cluster.call("vastsky.evacuate", ssvrid=nodes[0].server_id)
    cluster.work(3)

    later(6 + settings.VASTSKY_GRACE_SECONDS // 60)
    cluster.work()

    stuck = [title for title in titles() if "does not get on" in title]
    assert {title.split()[0] for title in stuck} == {"evacuate", "rebuild"}


def test_an_evacuation_that_rests_is_none(cluster: Cluster, settings: Settings) -> None:
    nodes = [cluster.add_storage() for _ in range(4)]
    cluster.create()
    eventid = cluster.call("vastsky.evacuate", ssvrid=nodes[0].server_id)
    cluster.call("vastsky.pauseJob", eventid=eventid)

    later(60)
    cluster.work()

    assert not any(title.startswith("evacuate") for title in titles())


def test_space_that_waits_for_its_turn_to_be_shredded_is_none(
    four: Cluster, idle: LogicalVolume, settings: Settings
) -> None:
    settings.VASTSKY_SHREDS_TOTAL = settings.VASTSKY_SHREDS_PER_SERVER = 1
    for node in four.world.storages.values():
        node.hold_shreds = True
    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.reconcile()
    four.work()

    later(60)
    four.work()

    stuck = [title for title in titles() if "does not get on" in title]
    assert len(stuck) == 1
    assert Job.objects.filter(kind=Job.Kind.SHRED, state=Job.State.OPEN).count() == 3
