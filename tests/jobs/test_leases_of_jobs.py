"""Whoever takes a step holds the job for as long as he lives."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from tests.jobs.conftest import Cluster
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Job, LogicalVolume
from volumes.worker import runner


def test_a_slow_step_is_not_taken_by_another_worker(
    racing_four: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LEASE", timedelta(seconds=0.9))
    taken = []

    def slow(job: Job) -> Again:
        taken.append(job.holder)
        time.sleep(1.5)
        return Again(timedelta(seconds=50))

    monkeypatch.setitem(runner.STEPS, Job.Kind.DETACH, slow)
    volume = racing_four.create()
    racing_four.attach(volume, next(iter(racing_four.world.heads.values())))
    job = racing_four.begin_detach(volume)

    def run() -> None:
        runner.run_job(job.pk)
        racing_four.hang_up()

    first = threading.Thread(target=run)
    first.start()
    while first.is_alive():
        runner.run_job(job.pk)
        time.sleep(0.05)
    first.join()

    assert len(taken) == 1


def test_a_worker_that_lost_its_lease_records_nothing(four: Cluster) -> None:
    volume = four.create()
    four.attach(volume, next(iter(four.world.heads.values())))
    job = four.begin_detach(volume)
    late = queue.claim(job.pk)
    assert late is not None
    Job.objects.filter(pk=job.pk).update(due=job.created)
    assert queue.claim(job.pk) is not None

    with pytest.raises(queue.LeaseLost):
        queue.finish(late)
    queue.postpone(late, Again(timedelta(hours=1), "late"))

    job.refresh_from_db()
    assert (job.state, job.waiting) == ("open", "")


def test_a_job_that_was_put_off_by_another_clock_goes_on(four: Cluster) -> None:
    volume = four.create()
    four.attach(volume, next(iter(four.world.heads.values())))
    job = four.begin_detach(volume)
    Job.objects.filter(pk=job.pk).update(due=timezone.now() + timedelta(hours=1))

    for job_id in queue.due_ids(timezone.now(), 10):
        runner.run_job(job_id)

    job.refresh_from_db()
    assert job.state == "done"


def test_work_of_a_kind_that_a_newer_release_has_is_left_to_its_workers(four: Cluster) -> None:
    job = four.begin_detach(_attached(four))
    _give_kind_of_a_newer_schema(job, "later")

    assert queue.due_ids(timezone.now(), 10) == []
    runner.run_job(job.pk)

    job.refresh_from_db()
    assert (job.state, job.attempts, job.waiting, job.holder) == ("open", 0, "", "")


def _give_kind_of_a_newer_schema(job: Job, kind: str) -> None:
    """Write what our schema refuses: a newer release has come with a wider check of kinds."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        else:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE volumes_job DROP CONSTRAINT job_kind_known")
        Job.objects.filter(pk=job.pk).update(kind=kind)
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def _attached(cluster: Cluster) -> LogicalVolume:
    volume = cluster.create()
    cluster.attach(volume, next(iter(cluster.world.heads.values())))
    return volume
