"""A request that comes again because its answer was lost ends as the first one did: `converge`."""

import pytest

from inventory.models import HeadServer, Priority, StorageServer
from tests.conftest import Race
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.lifecycle import snapshots
from volumes.models import Attachment, Job, LogicalVolume

EAGAIN, EBUSY, EEXIST, EINVAL = 11, 16, 17, 22
AGAIN = {"converge": 1}


def test_a_create_that_comes_again_gives_the_volume_that_is_there(four: Cluster) -> None:
    first = four.call("createLogicalVolume", lvolname="data", capacity=5, **AGAIN)

    assert four.call("createLogicalVolume", lvolname="data", capacity=5, **AGAIN) == first
    assert four.call.fault("createLogicalVolume", lvolname="data", capacity=5) == EEXIST
    assert LogicalVolume.objects.count() == 1


@pytest.mark.parametrize("other", [{"capacity": 6}, {"redundancy": 2}, {"tags": "ssd"}])
def test_a_volume_that_is_not_alike_is_no_answer(four: Cluster, other: dict[str, int]) -> None:
    asked = {"lvolname": "data", "capacity": 5}
    four.call("createLogicalVolume", **asked)

    assert four.call.fault("createLogicalVolume", **{**asked, **other}, **AGAIN) == EEXIST


def test_a_snapshot_of_that_name_is_no_volume(four: Cluster) -> None:
    four.create("data")
    four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname="monday")

    fault = four.call.fault("createLogicalVolume", lvolname="monday", capacity=5, **AGAIN)

    assert fault == EEXIST


def test_a_snapshot_that_comes_again_is_the_one_that_is_there(
    four: Cluster, volume: LogicalVolume, head: Head
) -> None:
    asked = {"origin_lvolid": volume.pk, "snapshot_lvolname": "monday", **AGAIN}
    first = four.call("createSnapshot", **asked)

    assert four.call("createSnapshot", **asked) == first
    assert len(head.told("snapshot")) == 1
    four.create("other")
    other = {**asked, "origin_lvolid": 0, "origin_lvolname": "other"}
    assert four.call.fault("createSnapshot", **other) == EEXIST


def test_a_snapshot_and_a_deletion_under_way_are_joined(
    four: Cluster, volume: LogicalVolume, head: Head
) -> None:
    made, job = snapshots.create_snapshot(origin=volume, name="monday")
    asked = {"origin_lvolid": volume.pk, "snapshot_lvolname": "monday", **AGAIN}
    assert four.call("createSnapshot", **asked) == made.pk
    assert job
    assert Job.objects.get(pk=job.pk).state == Job.State.DONE

    snapshots.delete_snapshot(made)
    assert four.call("deleteLogicalVolume", lvolname="monday", **AGAIN) == 0

    assert not LogicalVolume.objects.filter(pk=made.pk).exists()
    assert (len(head.told("snapshot")), len(head.told("unsnapshot"))) == (1, 1)


def test_a_snapshot_of_what_is_on_its_way_is_for_later(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.begin_attach(volume, head)
    asked = {"origin_lvolid": volume.pk, "snapshot_lvolname": "monday"}

    assert four.call.fault("createSnapshot", **asked) == EBUSY
    assert four.call.fault("createSnapshot", **asked, **AGAIN) == EAGAIN


def test_what_is_deleted_is_deleted_again_in_peace(four: Cluster) -> None:
    volume = four.create()

    for _ in range(2):
        assert four.call("deleteLogicalVolume", lvolid=volume.pk, **AGAIN) == 0
    assert four.call("deleteLogicalVolume", lvolname="data", **AGAIN) == 0
    assert four.call.fault("deleteLogicalVolume", **AGAIN) == EINVAL


def test_what_is_attached_there_is_attached_and_elsewhere_it_is_busy(
    four: Cluster, volume: LogicalVolume, head: Head
) -> None:
    asked = {"lvolid": volume.pk, **AGAIN}
    other = four.add_head()

    assert four.call("attachLogicalVolume", hsvrid=head.server_id, **asked) == 0
    assert len(head.told("attach")) == 1
    assert four.call.fault("attachLogicalVolume", hsvrid=other.server_id, **asked) == EBUSY


def test_an_attach_that_is_under_way_there_is_joined(four: Cluster, head: Head) -> None:
    volume = four.create()
    job = four.begin_attach(volume, head)

    four.call("attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id, **AGAIN)

    assert four.state(volume) == "bound"
    assert list(Job.objects.filter(kind=Job.Kind.ATTACH)) == [job]


def test_what_is_on_its_way_elsewhere_is_for_later(four: Cluster, head: Head) -> None:
    volume, other = four.create(), four.add_head()
    four.begin_attach(volume, head)

    asked = {"lvolid": volume.pk, "hsvrid": other.server_id}
    assert four.call.fault("attachLogicalVolume", **asked) == EBUSY
    assert four.call.fault("attachLogicalVolume", **asked, **AGAIN) == EAGAIN


def test_an_attach_that_failed_is_no_success(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.begin_attach(volume, head)
    Attachment.objects.filter(volume=volume).move(
        Attachment.State.BINDING, Attachment.State.ERROR, "out of luck"
    )

    asked = {"lvolid": volume.pk, "hsvrid": head.server_id}
    assert four.call.fault("attachLogicalVolume", **asked, **AGAIN) == EBUSY


def test_a_detach_that_is_under_way_is_joined(
    four: Cluster, volume: LogicalVolume, head: Head
) -> None:
    four.begin_detach(volume)
    assert four.call.fault("detachLogicalVolume", lvolid=volume.pk) == EAGAIN

    four.call("detachLogicalVolume", lvolid=volume.pk, **AGAIN)

    assert four.state(volume) == "detached"
    assert Job.objects.filter(kind=Job.Kind.DETACH).count() == 1


def test_care_of_a_place_that_comes_again_is_the_one_under_way(four: Cluster) -> None:
    for place in ({"ssvrid": 1}, {"pdskid": 2}):
        for method in ("vastsky.maintenance", "vastsky.evacuate"):
            first = four.call(method, **place, **AGAIN)
            assert four.call(method, **place, **AGAIN) == first
            four.call("vastsky.cancelJob", eventid=first)


def test_an_evacuation_that_is_over_is_not_begun_again(four: Cluster) -> None:
    first = four.call("vastsky.evacuate", ssvrid=1)
    four.work()
    assert Job.objects.get(pk=first).state == Job.State.DONE

    assert four.call("vastsky.evacuate", ssvrid=1, **AGAIN) == first
    StorageServer.objects.filter(pk=1).update(priority=Priority.HIGH)
    assert four.call("vastsky.evacuate", ssvrid=1, **AGAIN) != first


def test_one_volume_comes_of_many_creates_at_once(racing_four: Cluster, race: Race) -> None:
    def create() -> int:
        return int(racing_four.call("createLogicalVolume", lvolname="data", capacity=5, **AGAIN))

    assert len(set(race(*[create] * 6))) == 1
    assert LogicalVolume.objects.count() == 1


def test_one_attach_comes_of_many_at_once(racing_four: Cluster, race: Race) -> None:
    volume = racing_four.create()
    head = next(iter(racing_four.world.heads.values()))

    def attach() -> object:
        return racing_four.call(
            "attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id, **AGAIN
        )

    assert race(*[attach] * 4) == [0] * 4
    assert Job.objects.filter(kind=Job.Kind.ATTACH).count() == 1


# -- a head by its name ---------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["blue", "north-1.example"])
def test_a_head_is_named_by_its_host_or_by_what_people_call_it(
    four: Cluster, head: Head, word: str
) -> None:
    HeadServer.objects.filter(pk=head.server_id).update(name="blue", host_name="north-1.example")
    volume = four.create()

    assert four.call("attachLogicalVolume", lvolid=volume.pk, hsvrname=word) == 0

    assert Attachment.objects.get(volume=volume).head_id == head.server_id


def test_a_name_of_no_head_or_of_two_is_einval(four: Cluster, head: Head) -> None:
    volume, other = four.create(), four.add_head()
    HeadServer.objects.filter(pk=head.server_id).update(name="blue")
    HeadServer.objects.filter(pk=other.server_id).update(host_name="blue")

    for word in ("blue", "green", ""):
        asked = {"lvolid": volume.pk, "hsvrname": word}
        assert four.call.fault("attachLogicalVolume", **asked) == EINVAL
    assert four.state(volume) == "detached"


def test_an_id_of_a_head_counts_before_its_name(four: Cluster, head: Head) -> None:
    volume = four.create()

    four.call("attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id, hsvrname="nobody")

    assert four.state(volume) == "bound"
