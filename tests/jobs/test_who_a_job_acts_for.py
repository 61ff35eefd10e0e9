"""A job tells who asked for it; its steps act for the system."""

import pytest

from agents.protocol import Reason
from inventory import audit
from inventory.audit import Entrance
from inventory.models import HeadServer
from tests.jobs.conftest import Cluster
from volumes.attach import attach, detach
from volumes.models import Job
from volumes.repair import failures
from volumes.worker import runner

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_job_knows_who_asked_for_it_or_reported_what_it_repairs(four: Cluster) -> None:
    volume = four.create()
    four.attach(volume, next(iter(four.world.heads.values())))
    with audit.acting_as("node-1", Entrance.NODE):
        failures.fail_replica(four.replicas(volume)[0].pk, Reason.IO)
    with audit.acting_as("alice", Entrance.CONSOLE):
        detach.request_detach(volume)

    assert four.job(Job.Kind.ATTACH).actor == "trusted address"
    assert four.job(Job.Kind.DETACH).actor == "alice"
    assert four.job(Job.Kind.REBUILD).actor == "node-1"


def test_a_step_taken_in_the_callers_thread_acts_for_the_system(four: Cluster) -> None:
    head = HeadServer.objects.earliest("pk")
    job = attach.request_attach(four.create(), head.pk)
    seen = []

    def step(_: Job) -> None:
        seen.append(audit.actor())

    with pytest.MonkeyPatch.context() as patch, audit.acting_as("alice", Entrance.CONSOLE):
        patch.setitem(runner.STEPS, Job.Kind.ATTACH, step)
        runner.run_job(job.pk)

    assert seen == [audit.SYSTEM]
