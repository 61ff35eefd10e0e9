"""`--wait`: work is followed to its end, and what is refused for now is asked for again."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connections
from pytest_django.live_server_helper import LiveServer

from tests.client.conftest import Done, Run
from tests.jobs.conftest import Cluster, racing_four
from tests.jobs.simulated_head import Head
from vastsky_client.command.statuses import Status
from volumes.lifecycle import convergence
from volumes.models import Job, LogicalVolume, Replica

__all__ = ["racing_four"]

Start = Callable[..., Future[Done]]


@pytest.fixture
def four(racing_four: Cluster, live_server: LiveServer) -> Cluster:
    return racing_four


@pytest.fixture
def head(four: Cluster) -> Head:
    return four.world.heads[1]


@pytest.fixture
def start(vastsky: Run) -> Iterator[Start]:
    """Begin to run the command; its end is to come."""
    with ThreadPoolExecutor(1) as pool:

        def begin(*words: str) -> Future[Done]:
            return pool.submit(vastsky, *words)

        yield begin


@contextmanager
def working(four: Cluster) -> Iterator[None]:
    """Let a worker take steps, and storage servers finish what they copy."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            four.work()
            for node in four.world.storages.values():
                for order in node.told("pull"):
                    node.finish(order)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come about")


def test_an_evacuation_is_followed_until_nothing_is_left(vastsky: Run, four: Cluster) -> None:
    volume = four.create()
    server = four.replicas(volume)[0].server_id

    with working(four):
        done = vastsky("evacuation", "start", f"ssvr-{server:08x}", "--wait", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["state"] == "done"
    assert not Replica.objects.filter(server=server).exists()


def test_without_wait_the_job_is_told_and_goes_on(vastsky: Run, four: Cluster) -> None:
    server = four.replicas(four.create())[0].server_id

    done = vastsky("evacuation", "start", f"ssvr-{server:08x}", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "open"


def test_a_job_that_is_canceled_meanwhile_is_a_status_of_its_own(
    start: Start, four: Cluster
) -> None:
    running = start("maintenance", "start", "ssvr-00000001", "--wait")
    wait_for(lambda: Job.objects.filter(kind=Job.Kind.MAINTENANCE).exists())

    four.call("vastsky.cancelJob", eventid=four.job(Job.Kind.MAINTENANCE).pk)

    done = running.result(timeout=60)
    assert done.returncode == Status.JOB_FAILED
    assert done.stderr == (
        "vastsky: maintenance of ssvr-00000001 canceled: canceled by an operator\n"
    )


def test_who_has_waited_long_enough_is_told_that_it_goes_on(vastsky: Run, four: Cluster) -> None:
    done = vastsky("maintenance", "start", "ssvr-00000001", "--wait", "--timeout", "0.5")

    job = four.job(Job.Kind.MAINTENANCE)
    assert done.returncode == Status.AGAIN_LATER
    assert done.stderr.endswith(f"maintenance of ssvr-00000001 goes on as job {job.pk}\n")
    assert job.state == Job.State.OPEN


def test_an_attach_waits_for_the_detach_that_is_under_way(
    vastsky: Run, start: Start, four: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, asked = four.world.heads[1], threading.Event()
    attach = convergence.attach_volume

    def noted(volume: LogicalVolume, head_id: int) -> Job | None:
        asked.set()
        return attach(volume, head_id)

    monkeypatch.setattr(convergence, "attach_volume", noted)
    volume = four.create()
    four.attach(volume, head)
    four.begin_detach(volume)
    words = ("volume", "attach", "data", "hsvr-00000002")
    assert vastsky(*words).returncode == Status.IN_THE_WAY

    running = start(*words, "--wait")
    wait_for(lambda: asked.is_set() or running.done())
    with working(four):
        done = running.result(timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    assert four.state(volume) == "bound"


def test_what_somebody_has_to_end_is_not_waited_for(
    vastsky: Run, four: Cluster, head: Head
) -> None:
    four.attach(four.create(), head)

    done = vastsky("volume", "delete", "data", "--wait")

    assert done.returncode == Status.IN_THE_WAY
    assert LogicalVolume.objects.exists()


def test_a_volume_is_led_through_its_life_on_a_head(
    vastsky: Run, four: Cluster, head: Head
) -> None:
    for words in (
        ("volume", "create", "db", "5"),
        ("volume", "attach", "db", "hsvr-00000001"),
        ("snapshot", "create", "db", "db-monday"),
        ("snapshot", "delete", "db-monday"),
        ("volume", "detach", "db"),
        ("volume", "delete", "db"),
    ):
        done = vastsky(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert [len(head.told(order)) for order in ("attach", "snapshot", "detach")] == [1, 1, 1]
