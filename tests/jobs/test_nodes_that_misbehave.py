"""Nodes answer garbage, too late, or never. With simulated nodes."""

import errno
from xmlrpc.client import Fault

import pytest
from pytest_django import Settings

from inventory.models import HeadServer, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head
from volumes.models import Leg


def test_a_storage_server_that_answers_garbage_is_left_out(four: Cluster, head: Head) -> None:
    volume = four.create()
    mad = four.legs(volume)[0]
    four.node_of(mad).babbles = True

    four.attach(volume, head)

    assert four.legs(volume, Leg.Status.FAULTY) == [mad]


def test_a_head_that_answers_garbage_is_a_fault_and_detach_is_allowed(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    head.babbles = True
    monkeypatch.setattr("volumes.steps._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EPROTO
    head.babbles = False
    four.detach(volume)
    assert four.state(volume) == "detached"


@pytest.mark.parametrize("way", ["dead", "hung", "garbage"])
def test_a_node_without_a_sane_answer_counts_as_silent_and_holds_up_nobody(
    four: Cluster, settings: Settings, way: str
) -> None:
    settings.VASTSKY_AGENT_TIMEOUT = 0.3
    node, *others = four.world.storages.values()
    {"dead": node.die, "hung": node.hang, "garbage": node.babble}[way]()

    four.sweep()

    assert StorageServer.objects.get(pk=node.server_id).silent_since is not None
    answered = StorageServer.objects.filter(silent_since=None, last_answer__isnull=False)
    assert set(answered.values_list("pk", flat=True)) == {other.server_id for other in others}
    assert HeadServer.objects.get().silent_since is None


def test_a_server_that_answers_again_is_not_silent_any_more(four: Cluster) -> None:
    node = next(iter(four.world.storages.values()))
    node.die()
    four.sweep()
    node.start()

    four.sweep()

    assert StorageServer.objects.get(pk=node.server_id).silent_since is None


def test_an_answer_in_another_servers_name_is_no_answer(four: Cluster) -> None:
    liar, other, *_ = four.world.storages.values()
    true_id, liar.server_id = liar.server_id, other.server_id

    four.sweep()

    assert StorageServer.objects.get(pk=true_id).silent_since is not None
