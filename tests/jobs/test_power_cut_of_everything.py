"""Manager, head and storage servers lose their power together, and return in any order."""

import errno
from collections.abc import Iterable
from datetime import timedelta
from xmlrpc.client import Fault

import pytest

from inventory import clock
from inventory.models import HeadServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import LogicalVolume, Replica

Status = Replica.Status


@pytest.fixture
def newest(four: Cluster, head: Head, volume: LogicalVolume) -> Replica:
    """The replica that the head used to the last, when the others had lost their power already."""
    newest, *left_behind = four.replicas(volume)
    for replica in left_behind:
        head.lose(replica.pk)
    HeadServer.objects.update(last_answer=clock.now() - timedelta(minutes=5))
    return newest


def return_one_by_one(four: Cluster, head: Head, replicas: Iterable[Replica]) -> None:
    """Each node tells that it was started anew; the head is the last."""
    for replica in replicas:
        four.call("notifyFailure", target=2, targetid=replica.server_id, reason="restarted")
        four.node_of(replica).die()
        four.comes_back(four.node_of(replica))
    head.groups.clear()
    four.call("notifyFailure", target=1, targetid=head.server_id, reason="restarted")
    four.call("registerHeadServer", ip_data=[head.address])
    four.work()


def test_the_replica_that_was_used_to_the_last_serves_though_its_server_returns_first(
    four: Cluster, head: Head, volume: LogicalVolume, newest: Replica
) -> None:
    left_behind = [replica for replica in four.replicas(volume) if replica != newest]
    return_one_by_one(four, head, [newest, *left_behind])

    four.attach(volume, head)

    assert four.replicas(volume, Status.INSYNC) == [newest]


def test_without_the_replica_that_was_used_to_the_last_nothing_older_is_shown(
    four: Cluster,
    head: Head,
    volume: LogicalVolume,
    newest: Replica,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_behind = [replica for replica in four.replicas(volume) if replica != newest]
    return_one_by_one(four, head, [newest, *left_behind])
    four.node_of(newest).die()
    monkeypatch.setattr("volumes.worker.runner._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EHOSTDOWN
    assert "newest" in caught.value.faultString
