"""Disks are known by their label or path, come back, move, and are tiled into extents."""

import errno
from typing import Any

import pytest

from inventory.models import Disk, Extent, Priority, StorageServer
from tests.contract.api import SECTORS_PER_GB, Api, put_down
from volumes.models import Replica

EBUSY, EEXIST, EINVAL, ENOENT = 16, 17, 22, 2
Status = Extent.Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(call: Api) -> Any:
    return call("registerStorageServer", ip_data=["10.0.0.1"])


@pytest.fixture
def there(call: Api) -> Any:
    return call("registerStorageServer", ip_data=["10.0.0.2"])


def sectors(gb: int) -> str:
    return str(gb * SECTORS_PER_GB)


def tiles() -> list[tuple[int, int, int]]:
    rows = Extent.objects.order_by("disk", "offset_gb")
    return list(rows.values_list("offset_gb", "size_gb", "status"))


def test_a_new_disk_is_to_be_zeroed_but_for_its_last_gb(call: Api, here: int) -> None:
    assert call("registerPhysicalDisk", ssvrid=here, local_path="/d", capacity=sectors(10)) == 1

    assert tiles() == [(0, 9, Status.OFFLINE), (9, 1, Status.SUPER)]


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [(sectors(2), [(0, 1, 4), (1, 1, 5)]), (str((10 << 21) + 5), [(0, 9, 4), (9, 1, 5)])],
)
def test_only_whole_gb_count(call: Api, here: int, capacity: str, expected: list[Any]) -> None:
    call("registerPhysicalDisk", ssvrid=here, local_path="/d", capacity=capacity)

    assert tiles() == expected


@pytest.mark.parametrize("capacity", ["1", sectors(1), str((2 << 21) - 1)])
def test_a_disk_without_a_gb_beside_its_label_is_einval_and_not_kept(
    call: Api, here: int, capacity: str
) -> None:
    refused = call.fault("registerPhysicalDisk", ssvrid=here, local_path="/d", capacity=capacity)

    assert refused == errno.EINVAL
    assert not Disk.objects.exists()


def test_the_largest_disk_is_tiled_and_shown(call: Api, here: int) -> None:
    call("registerPhysicalDisk", ssvrid=here, local_path="/d", capacity=str(1 << 63))

    (disk,) = call("listPhysicalDisks")
    assert disk["capacity"] == 0x7FFFFFFF
    assert tiles()[-1] == ((1 << 42) - 1, 1, Status.SUPER)


@pytest.mark.parametrize("capacity", ["0", str((1 << 63) + 1)])
def test_a_capacity_out_of_range_is_invalid(call: Api, here: int, capacity: str) -> None:
    struct = {"ssvrid": here, "local_path": "/d", "capacity": capacity}

    assert call.fault("registerPhysicalDisk", **struct) == EINVAL


@pytest.mark.parametrize("down", [Priority.OFFLINE, Priority.HALT, Priority.FAULTY])
def test_its_server_must_exist_and_be_up(call: Api, here: int, down: Priority) -> None:
    put_down(StorageServer, here, down)

    for ssvrid in (here, here + 1):
        struct = {"ssvrid": ssvrid, "local_path": "/d", "capacity": sectors(10)}
        assert call.fault("registerPhysicalDisk", **struct) == EINVAL


@pytest.mark.parametrize("label", ["", "a-label"])
def test_known_and_up_here_exists_and_elsewhere_is_busy(
    call: Api, here: int, there: int, label: str
) -> None:
    struct = {"local_path": "/d", "capacity": sectors(10), "disk_uuid": label}
    call("registerPhysicalDisk", ssvrid=here, **struct)

    assert call.fault("registerPhysicalDisk", ssvrid=here, **struct) == EEXIST
    assert call.fault("registerPhysicalDisk", ssvrid=there, **struct) == EBUSY


def test_the_label_counts_more_than_the_path(call: Api, here: int, there: int) -> None:
    struct = {"local_path": "/d", "capacity": sectors(10)}
    first = call("registerPhysicalDisk", ssvrid=here, disk_uuid="one", **struct)

    assert call("registerPhysicalDisk", ssvrid=there, disk_uuid="two", **struct) == first + 1


@pytest.mark.parametrize("down", [Priority.OFFLINE, Priority.HALT])
def test_a_disk_that_was_down_comes_back_with_its_extents(
    call: Api, here: int, down: Priority
) -> None:
    struct = {"ssvrid": here, "capacity": sectors(10), "disk_uuid": "one"}
    disk = call("registerPhysicalDisk", local_path="/old", **struct)
    put_down(Disk, disk, down)
    before = tiles()

    assert call("registerPhysicalDisk", local_path="/new", **struct) == disk
    row = Disk.objects.get()
    assert (row.priority, row.local_path) == (Priority.HIGH, "/new")
    assert tiles() == before


def test_a_disk_with_bad_blocks_comes_back_low(call: Api, here: int) -> None:
    struct = {"ssvrid": here, "local_path": "/d", "capacity": sectors(10)}
    disk = call("registerPhysicalDisk", **struct)
    call("notifyBadBlocks", pdskid=disk, blocks=[3, 4])
    put_down(Disk, disk, Priority.OFFLINE)

    call("registerPhysicalDisk", **struct)

    assert Disk.objects.get().priority == Priority.LOW
    assert tiles() == [(0, 3, 4), (3, 2, 6), (5, 4, 4), (9, 1, 5)]


@pytest.mark.parametrize("whose", [Disk, StorageServer])
def test_a_disk_that_was_down_may_have_moved(
    call: Api, here: int, there: int, whose: type[Any]
) -> None:
    struct = {"local_path": "/d", "capacity": sectors(10), "disk_uuid": "one"}
    disk = call("registerPhysicalDisk", ssvrid=here, **struct)
    put_down(whose, disk if whose is Disk else here, Priority.OFFLINE)

    assert call("registerPhysicalDisk", ssvrid=there, **struct) == disk
    assert (Disk.objects.get().server_id, Disk.objects.get().priority) == (there, Priority.HIGH)


def test_a_faulty_disk_does_not_come_back(call: Api, here: int, there: int) -> None:
    struct = {"local_path": "/d", "capacity": sectors(10), "disk_uuid": "one"}
    put_down(Disk, call("registerPhysicalDisk", ssvrid=here, **struct), Priority.FAULTY)

    assert call.fault("registerPhysicalDisk", ssvrid=here, **struct) == EEXIST
    put_down(StorageServer, here, Priority.OFFLINE)
    assert call.fault("registerPhysicalDisk", ssvrid=there, **struct) == EEXIST


def test_a_disk_that_shrank_is_invalid(call: Api, here: int) -> None:
    struct = {"ssvrid": here, "local_path": "/d"}
    disk = call("registerPhysicalDisk", capacity=sectors(10), **struct)
    put_down(Disk, disk, Priority.OFFLINE)

    assert call.fault("registerPhysicalDisk", capacity=sectors(9), **struct) == EINVAL
    assert call("registerPhysicalDisk", capacity=sectors(11), **struct) == disk
    assert Disk.objects.get().capacity_gb == 10


def test_replicas_follow_a_disk_that_moves(call: Api, add_server: Any) -> None:
    servers = [add_server() for _ in range(3)]
    call("createLogicalVolume", lvolname="v", capacity=5, redundancy=2)
    replica = Replica.objects.select_related("extent__disk").first()
    assert replica is not None
    empty = next(s for s in servers if not Replica.objects.filter(server=s).exists())
    put_down(Disk, replica.extent.disk_id, Priority.OFFLINE)
    struct = {"local_path": replica.extent.disk.local_path, "capacity": sectors(101)}

    assert call("registerPhysicalDisk", ssvrid=empty, **struct) == replica.extent.disk_id

    replica.refresh_from_db()
    assert replica.server_id == empty


def test_a_disk_does_not_move_to_a_server_with_another_replica(call: Api, add_server: Any) -> None:
    for _ in range(2):
        add_server()
    call("createLogicalVolume", lvolname="v", capacity=5, redundancy=2)
    one, two = Replica.objects.select_related("extent__disk")
    put_down(Disk, one.extent.disk_id, Priority.OFFLINE)
    struct = {"local_path": one.extent.disk.local_path, "capacity": sectors(101)}

    assert call.fault("registerPhysicalDisk", ssvrid=two.server_id, **struct) == EBUSY


def test_a_disk_is_deleted_only_when_down_and_without_replicas(call: Api, add_server: Any) -> None:
    for _ in range(2):
        add_server()
    call("createLogicalVolume", lvolname="v", capacity=5, redundancy=2)

    assert call.fault("deletePhysicalDisk", pdskid=1) == EBUSY
    put_down(Disk, 1, Priority.OFFLINE)
    assert call.fault("deletePhysicalDisk", pdskid=1) == EBUSY
    call("deleteLogicalVolume", lvolname="v")
    assert call("deletePhysicalDisk", pdskid=1) == 0
    assert call.fault("deletePhysicalDisk", pdskid=1) == ENOENT
    assert not Extent.objects.filter(disk=1).exists()


def test_a_storage_server_goes_with_its_disks_but_not_with_replicas(
    call: Api, add_server: Any
) -> None:
    first = add_server(disks=2)
    add_server()
    call("createLogicalVolume", lvolname="v", capacity=5, redundancy=2)
    put_down(StorageServer, first, Priority.OFFLINE)

    assert call.fault("deleteStorageServer", ssvrid=first) == EBUSY
    call("deleteLogicalVolume", lvolname="v")
    assert call("deleteStorageServer", ssvrid=first) == 0
    assert not Disk.objects.filter(server=first).exists()
