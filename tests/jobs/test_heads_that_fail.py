"""Heads that fail, restart or speak of what is not theirs any more."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from agents.protocol import Reason, ReplicaReport, ReplicaState
from inventory.models import HeadServer
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from volumes.models import Attachment, Job, Replica

Status = Replica.Status


def _holders(four: Cluster, group: int) -> list[Storage]:
    return [node for node in four.world.storages.values() if group in node.min_epoch]


def _silent_for_an_hour(head: Head) -> None:
    HeadServer.objects.filter(pk=head.server_id).update(
        silent_since=_an_hour_ago(), last_answer=_an_hour_ago()
    )


def _bound_an_hour_ago() -> None:
    Attachment.objects.update(since=_an_hour_ago())


def _an_hour_ago() -> datetime:
    return timezone.now() - timedelta(hours=1)


def test_a_failed_head_is_fenced_off_before_its_volume_is_free(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    other = four.add_head()
    head.die()

    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert four.state(volume) == "detached"
    assert all(node.min_epoch[volume.pk] == 2 for node in _holders(four, volume.pk))
    four.attach(volume, other)
    assert other.told("attach")[0].epoch == 3


def test_a_server_that_was_declared_failed_and_lives_drops_what_a_fenced_head_has_open(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    lost = _holders(four, volume.pk)[0]
    four.call("notifyFailure", target=2, targetid=lost.server_id)

    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert lost.min_epoch[volume.pk] == 2
    assert not lost.exports


def test_a_head_that_was_fenced_is_told_to_let_go_of_what_is_open_there(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.groups[volume.pk].open = True
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])

    four.reconcile()

    assert head.told("detach")[-1].force
    assert volume.pk not in head.groups


def test_what_a_fenced_head_says_of_its_replicas_costs_the_volume_none(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()
    four.call("registerHeadServer", ip_data=[head.address])
    for replica in four.replicas(volume)[:2]:
        head.lose(replica.pk, "connection")
        four.call("notifyFailure", target=4, targetid=replica.pk, reason="connection")

    four.reconcile()

    assert len(four.replicas(volume, Status.INSYNC)) == 3


def test_failure_of_a_head_ends_the_attach_that_is_under_way(four: Cluster, head: Head) -> None:
    volume = four.create()
    Attachment.objects.create(volume=volume, head_id=head.server_id)
    four.call("notifyFailure", target=1, targetid=head.server_id)
    four.work()

    assert four.state(volume) == "detached"


def test_a_silent_head_keeps_its_volumes(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.die()
    four.reconcile()
    _silent_for_an_hour(head)

    four.reconcile()

    assert four.call("listHeadServers", hsvrid=head.server_id)[0]["priority"] == 4
    assert four.state(volume) == "bound"


def test_a_detach_from_a_head_that_is_out_says_that_nobody_was_asked(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    HeadServer.objects.update(name="north")
    head.die()
    _silent_for_an_hour(head)
    four.reconcile()

    four.detach(volume)

    assert four.state(volume) == "detached"
    *_, told, end = [line.text for line in four.job(Job.Kind.DETACH).lines.all()]
    asked = "it was not asked whether the volume is in use"
    assert told == f"north (hsvr-00000001) is Offline: {asked}"
    assert end == "done"


def test_a_head_that_lost_a_volume_in_a_reboot_is_fenced(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    _bound_an_hour_ago()
    head.groups.clear()

    four.reconcile()
    four.work()

    assert four.state(volume) == "detached"
    volume.refresh_from_db()
    assert not volume.closed_cleanly


def test_old_news_of_a_head_says_nothing_of_a_volume_that_was_bound_since(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    Attachment.objects.update(since=timezone.now() - timedelta(seconds=20))
    head.groups.clear()
    head.age = 30

    four.reconcile()

    assert four.state(volume) == "bound"


def test_a_group_that_died_while_its_storage_servers_were_started_anew_is_exported_to(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.groups[volume.pk].alive = False
    for node in _holders(four, volume.pk):
        node.exports.clear()

    four.reconcile()

    epoch = head.told("attach")[0].epoch
    assert [four.node_of(replica).exports for replica in four.replicas(volume)] == [
        {replica.pk: (volume.pk, epoch)} for replica in four.replicas(volume)
    ]


def test_a_group_of_an_epoch_that_is_over_is_taken_down(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    group = head.groups[volume.pk]
    four.detach(volume)
    head.groups[volume.pk] = group

    four.reconcile()

    assert not head.groups


def test_an_export_of_an_old_epoch_is_evicted(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    node = four.node_of(four.replicas(volume)[0])
    kept = dict(node.exports)
    four.detach(volume)
    node.exports = kept

    four.reconcile()

    assert not node.exports


def test_a_head_cannot_speak_of_replicas_of_other_groups(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, other = four.create(), four.create("other")
    four.attach(other, head)
    strange = four.replicas(other)[0].pk
    state = ReplicaReport(strange, four.mirror(other).pk, ReplicaState.FAULTY, 1, Reason.IO)
    assemble = head.on_attach
    monkeypatch.setattr(
        head, "on_attach", lambda order: replace(assemble(order), replicas=(state,))
    )

    four.attach(volume, head)

    assert len(four.replicas(other, Status.INSYNC)) == 3
