"""Time passes for the cluster while somebody moves it on, whatever the wall clocks say."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from inventory import clock, pulse
from inventory.models import Clock, StorageServer, Watch
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Job, LogicalVolume
from volumes.reports import problems
from volumes.reports.problems import work_problems
from volumes.worker import heart, leadership, runner

HOUR = 3600.0


class Monotonic:
    """Stands for the module `time` where it is moved by hand."""

    def __init__(self) -> None:
        self.passed = 1000.0

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    """The clock as it really is, and the machine's monotonic time in the test's hands."""
    machine = Monotonic()
    monkeypatch.setattr(clock, "LOOK", 1.0)
    monkeypatch.setattr(clock, "LEASH", 2.5)
    monkeypatch.setattr(clock, "_reading", None)
    for module in (clock, leadership, pulse):
        monkeypatch.setattr(module, "time", machine)
    return machine


@pytest.mark.django_db
def test_it_passes_while_a_worker_moves_it(passing: Monotonic) -> None:
    clock.move()
    began = clock.now()

    for _ in range(60):
        passing.passed += 1
        clock.move(stood=0.5)

    assert clock.now() - began == timedelta(seconds=60)


@pytest.mark.django_db
def test_it_stands_still_while_no_worker_does(passing: Monotonic) -> None:
    began = clock.now()

    passing.passed += HOUR

    assert clock.now() - began <= timedelta(seconds=clock.LEASH)
    assert clock.now() == clock.now()


@pytest.mark.django_db
def test_a_worker_that_was_stopped_for_an_hour_saw_seconds_pass(passing: Monotonic) -> None:
    clock.move()
    began = clock.now()

    passing.passed += HOUR
    clock.move()

    assert clock.now() - began <= timedelta(seconds=clock.LONGEST + clock.LEASH)


@pytest.mark.django_db
def test_many_workers_never_make_it_run_faster_nor_back(
    passing: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.move()
    began = Clock.objects.get().at
    readings = [clock._reading] * 3
    shown = [clock.now()] * 3

    for step in range(300):
        passing.passed += 0.2
        for number in {step % 3, step % 2}:
            monkeypatch.setattr(clock, "_reading", readings[number])
            clock.move(stood=0.5)
            assert clock.now() >= shown[number]
            readings[number], shown[number] = clock._reading, clock.now()

    assert timedelta(seconds=50) <= Clock.objects.get().at - began <= timedelta(seconds=60)


@pytest.mark.django_db
def test_a_database_from_a_backup_brings_its_own_time(passing: Monotonic) -> None:
    clock.move()
    Clock.objects.update(at=timezone.now() - timedelta(days=3), beat=7)

    passing.passed += 1

    assert clock.now() == Clock.objects.get().at


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_silent_server_is_found_and_an_attach_goes_on_when_the_wall_clock_is_set(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    volume = four.create()
    node, *_ = four.world.storages.values()
    four.silence(node, 30)
    monkeypatch.setattr(timezone, "now", _set(hours))

    four.reconcile()
    four.attach(volume, head)

    assert StorageServer.objects.get(pk=node.server_id).priority == 4
    assert StorageServer.objects.filter(priority=1).count() == 3
    assert four.state(volume) == "bound"


@pytest.mark.parametrize("hours", [-1, 1])
def test_no_job_is_late_or_over_when_the_wall_clock_is_set(
    four: Cluster, volume: LogicalVolume, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    job = four.begin_detach(volume)
    monkeypatch.setattr(timezone, "now", _set(hours))

    assert not runner._is_over(job)
    assert queue.due_ids(clock.now(), 10) == [job.pk]
    assert not any("overdue" in problem.title for problem in problems.find())


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_that_one_worker_took_is_no_others_when_the_wall_clock_is_set(
    four: Cluster, volume: LogicalVolume, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    job = four.begin_detach(volume)
    monkeypatch.setattr(timezone, "now", _set(hours))

    assert queue.claim(job.pk) is not None
    assert queue.claim(job.pk) is None
    assert queue.due_ids(clock.now(), 10) == [], "by the clock that all workers share"


def test_a_head_that_lost_a_volume_is_noticed_when_the_wall_clock_was_set_back(
    four: Cluster, head: Head, volume: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", _set(-1))
    head.groups.clear()
    clock_now = clock.now
    monkeypatch.setattr(clock, "now", lambda: clock_now() + timedelta(seconds=10))

    four.reconcile()

    assert Job.objects.filter(kind=Job.Kind.FENCE, volume=volume).exists()


def test_a_time_in_which_nobody_asked_is_no_silence(four: Cluster, settings: Settings) -> None:
    node, *_ = four.world.storages.values()
    four.silence(node, 3603)
    Watch.objects.update_or_create(pk=1, defaults={"asked": clock.now() - timedelta(hours=1)})

    four.reconcile()

    row = StorageServer.objects.get(pk=node.server_id)
    counted = 3 + settings.VASTSKY_RECONCILE_SECONDS
    assert row.silent_since
    assert (row.priority, round((clock.now() - row.silent_since).total_seconds())) == (1, counted)


def test_a_server_that_fell_silent_is_not_out_at_once(four: Cluster) -> None:
    node, *_ = four.world.storages.values()
    four.reconcile()
    node.die()

    four.reconcile()

    row = StorageServer.objects.get(pk=node.server_id)
    assert (row.priority, row.silent_since is None) == (1, False)


@pytest.mark.django_db
def test_one_worker_has_the_turn_until_it_stands_still(passing: Monotonic) -> None:
    first, second = leadership.Leadership(), leadership.Leadership()
    first.renew()
    second.renew()
    assert (first.is_ours, second.is_ours) == (True, False)

    passing.passed += leadership.LEASE - 0.1
    second.renew()
    assert not second.is_ours

    passing.passed += 0.1
    assert not first.is_ours, "it ends before anybody takes it"
    second.renew()
    first.renew()
    assert (first.is_ours, second.is_ours) == (False, True)


@pytest.mark.django_db
def test_a_worker_that_ends_gives_its_turn_up_at_once(passing: Monotonic) -> None:
    first, second = leadership.Leadership(), leadership.Leadership()
    first.renew()

    first.resign()
    second.renew()

    assert (first.is_ours, second.is_ours) == (False, True)


@pytest.mark.django_db
def test_a_worker_whose_watch_hangs_gives_its_turn_up(
    passing: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "time", passing)
    first, second = heart.Heart(), leadership.Leadership()
    first._beat()
    assert first._goes_on()

    passing.passed += heart.HUNG + 1
    first._beat()
    second.renew()

    assert second.is_ours


def test_a_node_that_hangs_holds_up_its_own_jobs_alone(
    racing_four: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, done = threading.Event(), threading.Event()
    heads = iter(racing_four.world.heads.values())
    jobs = []
    for name in ("hung", "well"):
        volume = racing_four.create(name)
        racing_four.attach(volume, next(heads))
        jobs.append(racing_four.begin_detach(volume))

    def step(job: Job) -> Again | None:
        if job.pk == jobs[0].pk:
            hung.wait(10)
        else:
            done.set()
        return Again(timedelta(seconds=50))

    monkeypatch.setitem(runner.STEPS, Job.Kind.DETACH, step)
    monkeypatch.setattr(runner, "_POOL", ThreadPoolExecutor(2))

    assert runner.run_due() == 2
    assert done.wait(5)
    assert runner.run_due() == 0
    hung.set()
    _hang_up(runner._POOL)
    assert not runner._taken


@pytest.mark.django_db
def test_the_console_tells_that_no_worker_lives(
    passing: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_problems, "_workers", pulse.Pulse())
    worker = leadership.Leadership()
    for _ in range(90):
        worker.renew()
        passing.passed += 1
        assert not list(work_problems.find_workers())

    passing.passed += work_problems.SILENCE + 1

    (found,) = work_problems.find_workers()
    assert found.title.startswith("No worker takes steps")


def _set(hours: int) -> Callable[[], object]:
    right = timezone.now
    return lambda: right() + timedelta(hours=hours)


def _hang_up(pool: ThreadPoolExecutor) -> None:
    """Wait for both threads, and let each close its connection to the database."""
    both = threading.Barrier(2)

    def end() -> None:
        both.wait(10)
        connections.close_all()

    for thread in [pool.submit(end) for _ in range(2)]:
        thread.result(10)
