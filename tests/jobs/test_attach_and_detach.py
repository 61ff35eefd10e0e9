"""Attach, detach and fence, with simulated nodes."""

import errno
from xmlrpc.client import Fault

import pytest

from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import Attachment, Job, Replica
from volumes.worker import runner

Status = Replica.Status


def test_attach_exports_every_replica_and_binds(four: Cluster, head: Head) -> None:
    volume = four.create()

    four.attach(volume, head)

    assert four.state(volume) == "bound"
    assert len(four.replicas(volume, Status.INSYNC)) == 3
    (order,) = head.told("attach")
    assert order.epoch == 1
    assert {replica.dextid for replica in order.devices[0].mirrors[0].replicas} == {
        replica.pk for replica in four.replicas(volume)
    }
    assert order.devices[0].labels == ("data", str(volume))


def test_detach_records_a_clean_end_and_evicts(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)

    four.detach(volume)

    volume.refresh_from_db()
    assert four.state(volume) == "detached"
    assert volume.closed_cleanly
    assert volume.epoch == 2
    assert {replica.events for replica in four.replicas(volume)} == {1}
    assert not any(node.exports for node in four.world.storages.values())


def test_detach_of_what_is_not_attached_is_nothing(four: Cluster) -> None:
    assert four.call("detachLogicalVolume", lvolid=four.create().pk) == 0


def test_attach_twice_is_busy(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EBUSY


def test_detach_of_an_open_volume_is_busy_and_it_stays_bound(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    head.groups[volume.pk].open = True

    with pytest.raises(Fault) as caught:
        four.detach(volume)

    assert caught.value.faultCode == errno.EBUSY
    assert four.state(volume) == "bound"


def test_a_silent_storage_server_is_left_out(four: Cluster, head: Head) -> None:
    volume = four.create()
    missing = four.replicas(volume)[0]
    four.node_of(missing).die()

    four.attach(volume, head)

    assert [replica.pk for replica in four.replicas(volume, Status.FAULTY)] == [missing.pk]
    order = head.told("attach")[0]
    assert missing.pk not in {replica.dextid for replica in order.devices[0].mirrors[0].replicas}
    shown = four.call("listLogicalVolumes", lvolid=volume.pk)[0]
    assert shown["fault"] is True


def test_a_hung_storage_server_is_left_out(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.client.SYNCHRONOUS", 0.3)
    volume = four.create()
    missing = four.replicas(volume)[0]
    four.node_of(missing).hang()

    four.attach(volume, head)

    assert [replica.pk for replica in four.replicas(volume, Status.FAULTY)] == [missing.pk]


def test_a_head_that_refuses_makes_an_error_that_a_detach_clears(four: Cluster, head: Head) -> None:
    volume = four.create()
    head.refuse["attach"] = (errno.ENOMEM, "no memory")

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.ENOMEM
    assert four.call("listLogicalVolumes", lvolid=volume.pk)[0]["bind_status"] == 2
    four.detach(volume)
    assert four.state(volume) == "detached"


def test_a_detach_that_is_refused_leaves_since_when_the_volume_is_attached(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    four.attach(volume, head)
    since = Attachment.objects.get(volume=volume).since
    head.groups[volume.pk].open = True

    with pytest.raises(Fault):
        four.detach(volume)

    attachment = Attachment.objects.get(volume=volume)
    assert (attachment.state, attachment.since) == ("bound", since)


def test_a_head_that_died_makes_host_down(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    head.die()
    monkeypatch.setattr("volumes.worker.runner._is_over", lambda job: True)

    with pytest.raises(Fault) as caught:
        four.attach(volume, head)

    assert caught.value.faultCode == errno.EHOSTDOWN
    assert four.state(volume) == "error"


def test_the_same_message_five_times_is_one_attach(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    job = four.job(Job.Kind.ATTACH)

    for _ in range(5):
        runner.run_job(job.pk)

    assert len(head.told("attach")) == 1


def test_a_worker_that_died_before_it_recorded_the_attach_costs_nothing(
    four: Cluster, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = four.create()
    four.call("attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id)
    Attachment.objects.update(state="binding")
    Job.objects.filter(kind="attach").update(state="open", finished=None)

    four.work()

    assert four.state(volume) == "bound"
    assert len({(o.eventid, o.order) for o in head.told("attach")}) == 1
