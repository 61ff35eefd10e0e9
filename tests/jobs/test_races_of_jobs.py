"""Two at the same moment, in threads with real transactions, with simulated nodes."""

import errno
from functools import partial
from typing import Any
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from inventory.models import StorageServer
from tests.conftest import Race
from tests.jobs.conftest import Cluster
from volumes.jobs import queue
from volumes.models import Attachment, Job, Replica
from volumes.repair import shred
from volumes.worker import reconcile, runner


def codes(results: list[Any]) -> list[int]:
    """Turn results into fault codes, 0 for success, in rising order."""
    return sorted(r.faultCode if isinstance(r, Fault) else 0 for r in results)


def test_two_heads_that_attach_at_once_get_one_volume(racing_four: Cluster, race: Race) -> None:
    volume = racing_four.create()
    heads = list(racing_four.world.heads.values())

    results = race(*(lambda head=head: racing_four.attach(volume, head) for head in heads))

    assert codes(results) == [0, errno.EBUSY]
    assert sum(len(head.groups) for head in heads) == 1
    call_command("fsck")


def test_an_attach_against_a_delete_leaves_one_of_them(racing_four: Cluster, race: Race) -> None:
    volume = racing_four.create()
    head = next(iter(racing_four.world.heads.values()))

    results = race(
        lambda: racing_four.attach(volume, head),
        lambda: racing_four.call("deleteLogicalVolume", lvolid=volume.pk),
    )

    assert codes(results) in ([0, errno.EBUSY], [0, errno.ENOENT])
    call_command("fsck")


def test_a_failing_server_and_an_attach_do_not_deadlock(racing_four: Cluster, race: Race) -> None:
    volumes = [racing_four.create(f"v{n}", gb=2) for n in range(4)]
    head = next(iter(racing_four.world.heads.values()))
    server = Replica.objects.values_list("server", flat=True)[0]

    results = race(
        *(lambda v=volume: racing_four.attach(v, head) for volume in volumes),
        lambda: racing_four.call("notifyFailure", target=2, targetid=server),
        lambda: racing_four.call("notifyFailure", target=2, targetid=server),
    )

    assert codes(results) == [0] * 6
    assert Attachment.objects.filter(state="bound").count() == 4
    call_command("fsck")


def test_workers_that_run_one_job_at_once_take_each_step_once(
    racing_four: Cluster, race: Race
) -> None:
    volume = racing_four.create()
    head = next(iter(racing_four.world.heads.values()))
    racing_four.attach(volume, head)
    job = racing_four.begin_detach(volume)

    race(*(lambda: runner.run_job(job.pk) for _ in range(4)))

    assert len(head.told("detach")) == 1
    assert racing_four.state(volume) == "detached"
    assert Job.objects.get(pk=job.pk).state == "done"


def test_shreds_that_begin_at_once_keep_to_the_limit(
    racing_four: Cluster, race: Race, settings: Settings
) -> None:
    for node in racing_four.world.storages.values():
        node.hold_shreds = True
    head = next(iter(racing_four.world.heads.values()))
    for number in range(6):
        volume = racing_four.create(f"v{number}")
        racing_four.attach(volume, head)
        racing_four.detach(volume)
        racing_four.call("deleteLogicalVolume", lvolid=volume.pk)
    shred.request_missing()

    race(*(partial(runner.run_job, pk) for pk in queue.due_ids(timezone.now(), 100)))

    for node in racing_four.world.storages.values():
        assert len(node.told("shred")) <= settings.VASTSKY_SHREDS_PER_DISK


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no connection to be lost")
def test_the_watch_over_the_nodes_goes_on_after_its_connection_to_the_database_was_lost(
    racing_four: Cluster,
) -> None:
    node = next(iter(racing_four.world.storages.values()))
    node.die()
    assert connection.connection is not None
    connection.connection.close()  # as the restart of a database does

    for _ in range(2):
        reconcile.reconcile()

    assert StorageServer.objects.get(pk=node.server_id).silent_since is not None


def test_workers_that_sweep_at_once_list_each_orphan_once(
    racing_four: Cluster, race: Race, caplog: pytest.LogCaptureFixture
) -> None:
    """One worker does, until it is believed to be gone and goes on."""
    for node in racing_four.world.storages.values():
        node.exports = dict.fromkeys(range(4712, 4732), (4711, 3))

    race(*(racing_four.reconcile for _ in range(4)))

    assert len(racing_four.call("vastsky.listOrphans")) == 4 * 20
    assert all(len(node.exports) == 20 for node in racing_four.world.storages.values())
    assert "a part of reconciling failed" not in caplog.text
