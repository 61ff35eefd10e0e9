"""Nodes answer garbage, too late, or never. With simulated nodes."""

import errno
from datetime import timedelta
from xmlrpc.client import Fault

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.protocol import DiskState
from inventory.models import Address, Disk, HeadServer, Priority, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Job, Replica
from volumes.reports import problems


def test_a_storage_server_that_answers_garbage_is_left_out(four: Cluster, head: Head) -> None:
    volume = four.create()
    mad = four.replicas(volume)[0]
    four.node_of(mad).babbles = True

    four.attach(volume, head)

    assert four.replicas(volume, Replica.Status.FAULTY) == [mad]


def test_a_head_that_answers_garbage_is_a_fault_and_detach_is_allowed(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    head.babbles = True
    monkeypatch.setattr("volumes.worker.runner._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EHOSTDOWN
    assert caught.value.faultString == "no sane answer: Report: eventid is missing"
    head.babbles = False
    four.detach(volume)
    assert four.state(volume) == "detached"


@pytest.mark.parametrize(
    ("way", "why"),
    [("dead", "refused"), ("hung", "timed out"), ("garbage", "no sane answer: StorageState")],
)
def test_a_node_without_a_sane_answer_counts_as_silent_and_holds_up_nobody(
    four: Cluster, settings: Settings, way: str, why: str
) -> None:
    settings.VASTSKY_AGENT_TIMEOUT = 0.3
    node, *others = four.world.storages.values()
    {"dead": node.die, "hung": node.hang, "garbage": node.babble}[way]()

    four.reconcile()

    assert StorageServer.objects.get(pk=node.server_id).silent_since is not None
    answered = StorageServer.objects.filter(silent_since=None, last_answer__isnull=False)
    assert set(answered.values_list("pk", flat=True)) == {other.server_id for other in others}
    assert HeadServer.objects.get().silent_since is None
    assert why in Address.objects.get(storage=node.server_id).silence
    an_hour_ago = timezone.now() - timedelta(hours=1)
    rows = StorageServer.objects.filter(pk=node.server_id)
    rows.update(silent_since=an_hour_ago, last_answer=an_hour_ago)
    assert why in _told_of(rows.get())
    four.reconcile()
    assert rows.get().priority == Priority.OFFLINE
    assert why in _told_of(rows.get())


def _told_of(server: StorageServer) -> str:
    """Read what the console says is wrong with a server."""
    (title,) = [problem.title for problem in problems.find() if str(server) in problem.title]
    return title


def test_a_server_with_one_dead_network_is_up_and_the_network_is_told(cluster: Cluster) -> None:
    node = cluster.world.new_storage()
    unplugged = "127.23.0.1"
    node.server_id = cluster.call("registerStorageServer", ip_data=[node.address, unplugged])
    cluster.world.storages[node.server_id] = node

    cluster.reconcile()

    assert StorageServer.objects.get().silent_since is None
    silent = Address.objects.filter(silent_since__isnull=False)
    assert list(silent.values_list("address", flat=True)) == [unplugged]


def test_a_server_that_answers_again_is_not_silent_any_more(four: Cluster) -> None:
    node = next(iter(four.world.storages.values()))
    node.die()
    four.reconcile()
    node.start()

    four.reconcile()

    assert StorageServer.objects.get(pk=node.server_id).silent_since is None
    assert not Address.objects.exclude(silence="").exists()


def test_an_answer_in_another_servers_name_is_no_answer(four: Cluster) -> None:
    liar, other, *_ = four.world.storages.values()
    true_id, liar.server_id = liar.server_id, other.server_id

    four.reconcile()

    assert StorageServer.objects.get(pk=true_id).silent_since is not None
    assert "another node" in Address.objects.get(storage=true_id).silence


def test_a_job_tells_its_story_once_and_is_forgotten_with_it(
    four: Cluster, head: Head, settings: Settings
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.silence(four.node_of(four.replicas(volume)[0]), 30)
    four.reconcile()
    four.work(3)
    rebuild = four.job(Job.Kind.REBUILD)

    waits = [line.text for line in rebuild.lines.all() if "silent" in line.text]
    assert len(waits) == 1
    attach = four.job(Job.Kind.ATTACH)
    assert [line.text for line in attach.lines.all()][-1] == "done"

    long_ago = timezone.now() - timedelta(days=settings.VASTSKY_KEEP_JOBS_DAYS + 1)
    Job.objects.filter(pk=attach.pk).update(finished=long_ago)
    four.reconcile()
    assert not Job.objects.filter(pk=attach.pk).exists()


def test_a_server_speaks_of_its_own_disks_only(four: Cluster) -> None:
    clone, real = list(four.world.storages.values())[:2]
    disk = Disk.objects.get(server=real.server_id)
    clone.disks = [DiskState("copied", "/disk/copy", disk.pk, 100, error="it was a clone")]

    four.reconcile()

    disk.refresh_from_db()
    assert disk.priority == 1
