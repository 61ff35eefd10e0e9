"""Volumes are created with every replica in its place, found, and deleted without a trace."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from inventory import space
from inventory.models import Disk, Extent, HeadServer, IdSpace, Priority, StorageServer
from tests.contract.api import Api, put_down, zero_everything
from volumes.integrity import fsck
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica

ENOENT, EBUSY, EEXIST, EINVAL, ENOSPC = 2, 16, 17, 22, 28
AddServer = Callable[..., int]

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(add_server: AddServer) -> list[int]:
    return [add_server(disks=2, gb=100) for _ in range(3)]


def free_gb() -> int:
    return sum(Extent.objects.filter(status=Extent.Status.FREE).values_list("size_gb", flat=True))


def clean() -> bool:
    return not list(fsck.violations())


@pytest.mark.parametrize(("capacity", "mirrors"), [(1, 1), (10, 1), (25, 3), (200, 20)])
def test_a_volume_is_exactly_as_large_as_asked(
    call: Api, three: list[int], capacity: int, mirrors: int
) -> None:
    before = free_gb()

    lvolid = call("createLogicalVolume", lvolname="v", capacity=capacity)

    volume = LogicalVolume.objects.get(pk=lvolid)
    assert sum(volume.mirrors.values_list("size_gb", flat=True)) == capacity
    assert volume.mirrors.count() == mirrors
    assert before - free_gb() == 3 * capacity
    for mirror in volume.mirrors.all():
        assert set(mirror.replicas.values_list("server", flat=True)) == set(three)
    assert clean()


def test_the_last_gb_can_be_used_and_comes_back(call: Api, three: list[int]) -> None:
    call("createLogicalVolume", lvolname="all", capacity=200)
    assert free_gb() == 0
    assert call.fault("createLogicalVolume", lvolname="more", capacity=1) == ENOSPC

    call("deleteLogicalVolume", lvolname="all")

    assert free_gb() == 600
    assert Extent.objects.filter(status=Extent.Status.FREE).count() == 6
    assert clean()


def test_a_refusal_leaves_nothing_behind(call: Api, three: list[int]) -> None:
    before = list(Extent.objects.order_by("pk").values_list())

    assert call.fault("createLogicalVolume", lvolname="v", capacity=201) == ENOSPC
    assert call.fault("createLogicalVolume", lvolname="v", capacity=10, redundancy=4) == ENOSPC

    assert list(Extent.objects.order_by("pk").values_list()) == before
    assert not LogicalVolume.objects.exists()


def test_the_largest_capacity_is_refused_at_once(call: Api, three: list[int]) -> None:
    started = timezone.now()

    assert call.fault("createLogicalVolume", lvolname="v", capacity=1048576) == ENOSPC

    assert (timezone.now() - started).total_seconds() < 2


def test_space_that_was_not_zeroed_is_not_given_out(call: Api, three: list[int]) -> None:
    Extent.objects.filter(status=Extent.Status.FREE, disk__server=three[0]).update(
        status=Extent.Status.OFFLINE
    )

    assert call.fault("createLogicalVolume", lvolname="v", capacity=1) == ENOSPC
    zero_everything()
    assert call("createLogicalVolume", lvolname="v", capacity=1)


@pytest.mark.parametrize("priority", [p for p in Priority if p not in {1, 2}])
@pytest.mark.parametrize("kind", [Disk, StorageServer])
def test_nothing_lands_on_what_is_not_usable(
    call: Api, three: list[int], priority: Priority, kind: type[Any]
) -> None:
    chosen = three[0] if kind is StorageServer else Disk.objects.filter(server=three[0])[0].pk
    put_down(kind, chosen, priority)

    code = 0 if kind is Disk else ENOSPC
    if code:
        assert call.fault("createLogicalVolume", lvolname="v", capacity=5) == code
    else:
        call("createLogicalVolume", lvolname="v", capacity=5)
        assert not Replica.objects.filter(extent__disk=chosen).exists()


def test_tags_choose_the_disks(call: Api, three: list[int]) -> None:
    fast = [Disk.objects.filter(server=server)[0].pk for server in three]
    Disk.objects.filter(pk__in=fast).update(tags="ssd nvme")

    call("createLogicalVolume", lvolname="v", capacity=100, tags="ssd")

    assert set(Replica.objects.values_list("extent__disk", flat=True)) == set(fast)
    assert call.fault("createLogicalVolume", lvolname="w", capacity=1, tags="ssd") == ENOSPC


def test_fragmented_space_is_used_in_smaller_mirrors(call: Api, three: list[int]) -> None:
    for disk in Disk.objects.all():
        pieces = space.cut([(disk.pk, 4)] * 25)
        space.release([piece.extent_id for piece in pieces[::2]], exposed=False)

    lvolid = call("createLogicalVolume", lvolname="v", capacity=20)

    sizes = Mirror.objects.filter(volume=lvolid).values_list("size_gb", flat=True)
    assert sum(sizes) == 20
    assert max(sizes) <= 4


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a b", "a/b", "a\n", "lvol-1", "lvol-000008DA", "a" * 65, "ä", "-" * 65],
)
def test_a_bad_name_is_invalid(call: Api, three: list[int], name: str) -> None:
    assert call.fault("createLogicalVolume", lvolname=name, capacity=1) == EINVAL


@pytest.mark.parametrize("name", ["a", "...", "-", "a" * 64, "lvol-", "lvol-xyz", "LVOL-1", "_.-"])
def test_a_good_name_is_kept(call: Api, three: list[int], name: str) -> None:
    lvolid = call("createLogicalVolume", lvolname=name, capacity=1)

    assert call("listLogicalVolumes", lvolname=name)[0]["lvolid"] == lvolid


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"capacity": 1048577}, {"capacity": -1}])
def test_a_capacity_out_of_range_is_invalid(call: Api, three: list[int], bad: Any) -> None:
    assert call.fault("createLogicalVolume", lvolname="v", **bad) == EINVAL


@pytest.mark.parametrize("redundancy", [-1, 0, 1, 10])
def test_a_redundancy_out_of_range_is_invalid(call: Api, three: list[int], redundancy: int) -> None:
    struct = {"lvolname": "v", "capacity": 1, "redundancy": redundancy}

    assert call.fault("createLogicalVolume", **struct) == EINVAL


def test_a_name_is_free_again_after_deletion(call: Api, three: list[int]) -> None:
    first = call("createLogicalVolume", lvolname="v", capacity=1)

    assert call.fault("createLogicalVolume", lvolname="v", capacity=1) == EEXIST
    call("deleteLogicalVolume", lvolid=first)
    assert call.fault("deleteLogicalVolume", lvolid=first) == ENOENT
    assert call("createLogicalVolume", lvolname="v", capacity=1) > first


def test_the_id_counts_more_than_the_name(call: Api, three: list[int]) -> None:
    first = call("createLogicalVolume", lvolname="one", capacity=1)
    call("createLogicalVolume", lvolname="two", capacity=1)

    call("deleteLogicalVolume", lvolid=first, lvolname="two")

    assert LogicalVolume.objects.get().name == "two"
    assert call.fault("deleteLogicalVolume") == EINVAL
    assert call.fault("deleteLogicalVolume", lvolid=first, lvolname="two") == ENOENT


def test_ids_that_run_out_are_no_space(call: Api, three: list[int]) -> None:
    IdSpace.objects.filter(name="volume").update(next_id=0x7FFFFFFF - 5)

    assert call.fault("createLogicalVolume", lvolname="v", capacity=10) == ENOSPC
    assert not LogicalVolume.objects.exists()


@pytest.mark.parametrize("state", Attachment.State.values)
def test_an_attached_volume_is_busy(call: Api, three: list[int], state: str) -> None:
    volume = LogicalVolume.objects.get(pk=call("createLogicalVolume", lvolname="v", capacity=1))
    head = HeadServer.objects.get(pk=call("registerHeadServer", ip_data=["10.0.7.1"]))
    Attachment.objects.create(volume=volume, head=head, state=state)

    assert call.fault("deleteLogicalVolume", lvolid=volume.pk) == EBUSY


def test_a_volume_in_transition_is_busy(call: Api, three: list[int]) -> None:
    lvolid = call("createLogicalVolume", lvolname="v", capacity=1)
    Job.objects.create(id=1, kind=Job.Kind.FENCE, subject="v", volume_id=lvolid, due=timezone.now())

    assert call.fault("deleteLogicalVolume", lvolid=lvolid) == EBUSY


def test_exposed_space_waits_for_shredding_and_the_rest_is_free(
    call: Api, three: list[int]
) -> None:
    call("createLogicalVolume", lvolname="v", capacity=10)
    first = Replica.objects.values_list("extent_id", flat=True)[0]
    Replica.objects.filter(pk=first).update(status=Replica.Status.NEEDSHRED)

    call("deleteLogicalVolume", lvolname="v")

    assert Extent.objects.get(pk=first).status == Extent.Status.OFFLINE
    assert not Extent.objects.filter(status=Extent.Status.BUSY).exists()
    assert free_gb() == 590
    assert clean()


def test_deletion_cancels_an_open_rebuild(call: Api, three: list[int]) -> None:
    call("createLogicalVolume", lvolname="v", capacity=10)
    mirror = Mirror.objects.get()
    Replica.objects.filter(mirror=mirror).update(status=Replica.Status.INSYNC)
    Replica.objects.filter(pk=mirror.replicas.all()[0].pk).update(status=Replica.Status.SPARE)
    Job.objects.create(
        id=1,
        kind=Job.Kind.REBUILD,
        subject="v",
        volume=mirror.volume,
        mirror=mirror,
        due=timezone.now(),
    )

    call("deleteLogicalVolume", lvolname="v")

    job = Job.objects.get()
    assert (job.state, job.volume_id, job.mirror_id) == (Job.State.CANCELED, None, None)
    assert job.finished is not None
    assert Extent.objects.filter(status=Extent.Status.OFFLINE).count() == 3


def test_a_replica_lives_only_in_busy_space(call: Api, three: list[int]) -> None:
    call("createLogicalVolume", lvolname="v", capacity=10)
    replica = Replica.objects.all()[0]

    with pytest.raises(IntegrityError), transaction.atomic():
        Extent.objects.filter(pk=replica.pk).update(status=Extent.Status.OFFLINE)
    elsewhere = next(server for server in three if server != replica.server_id)
    Replica.objects.exclude(pk=replica.pk).delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        Replica.objects.filter(pk=replica.pk).update(server=elsewhere)


def test_an_epoch_never_falls(call: Api, three: list[int]) -> None:
    lvolid = call("createLogicalVolume", lvolname="v", capacity=10)
    LogicalVolume.objects.filter(pk=lvolid).update(epoch=5)

    with pytest.raises(IntegrityError), transaction.atomic():
        LogicalVolume.objects.filter(pk=lvolid).update(epoch=4)


def test_a_large_volume_takes_a_constant_number_of_queries(
    call: Api, three: list[int], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(30):
        call("createLogicalVolume", lvolname="v", capacity=200)
    with django_assert_max_num_queries(41):
        call("deleteLogicalVolume", lvolname="v")
