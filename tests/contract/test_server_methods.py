"""Registration, deletion and lists of servers and disks: every documented outcome."""

from typing import Any, NamedTuple

import pytest

from inventory.models import Disk, HeadServer, IdSpace, Priority, StorageServer
from tests.contract.api import Api, add_disk, put_down, zero_everything

ENOENT, EBUSY, EEXIST, EINVAL, ENOSPC = 2, 16, 17, 22, 28

pytestmark = pytest.mark.django_db


class Methods(NamedTuple):
    """What differs between heads and storage servers."""

    register: str
    listing: str
    number: str
    kind: type[HeadServer | StorageServer]
    space: str


KINDS = {
    "head": Methods("registerHeadServer", "listHeadServers", "hsvrid", HeadServer, "head"),
    "storage": Methods(
        "registerStorageServer", "listStorageServers", "ssvrid", StorageServer, "storage"
    ),
}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Methods:
    return KINDS[request.param]


def test_a_server_registers_and_is_listed(api: Api, server: Methods) -> None:
    number = api(server.register, ip_data=["10.0.0.1", "10.1.0.1"])

    (row,) = api(server.listing)

    assert row[server.number] == number
    assert (row["ip_data"], row["priority"], row["resync"]) == (["10.0.0.1", "10.1.0.1"], 1, 0)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (["10.0.0.1"], ["10.0.0.1", "10.0.0.1"]),
        (["10.0.0.1", "10.0.0.1"], ["10.0.0.1", "10.0.0.1"]),
        ([0x0A000001, 0x0A010001], ["10.0.0.1", "10.1.0.1"]),
        ([-0x3F57FFFF, "10.1.0.1"], ["192.168.0.1", "10.1.0.1"]),
    ],
)
def test_addresses_may_be_one_or_numbers(
    api: Api, server: Methods, sent: list[object], shown: object
) -> None:
    api(server.register, ip_data=sent)

    assert api(server.listing)[0]["ip_data"] == shown


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        ["0.0.0.7"],
        [7],
        ["10.0.0.1", 16777215],
        ["10.0.0"],
        ["10.0.0.256"],
        ["10.0.0.01"],
        ["10.0.0.1\n"],
        [" 10.0.0.1"],
        ["::1"],
        ["host.example"],
        [""],
        ["0.0.0.0"],  # noqa: S104
        ["255.255.255.255"],
        ["224.0.0.1"],
        [0],
    ],
)
def test_anything_else_is_einval(api: Api, server: Methods, addresses: list[object]) -> None:
    assert api.fault(server.register, ip_data=addresses) == EINVAL
    assert api(server.listing) == []


def test_a_server_that_is_up_is_eexist(api: Api, server: Methods) -> None:
    api(server.register, ip_data=["10.0.0.1", "10.1.0.1"])

    assert api.fault(server.register, ip_data=["10.0.0.1", "10.1.0.1"]) == EEXIST
    assert api.fault(server.register, ip_data=["10.0.0.1"]) == EEXIST
    assert api.fault(server.register, ip_data=["10.0.0.9", "10.1.0.1"]) == EEXIST


def test_the_same_boot_is_known_again_and_another_is_not(api: Api, server: Methods) -> None:
    number = api(server.register, ip_data=["10.0.0.1"], boot_id="first")

    assert api(server.register, ip_data=["10.0.0.1"], boot_id="first") == number
    assert api.fault(server.register, ip_data=["10.0.0.1"], boot_id="second") == EEXIST
    assert api.fault(server.register, ip_data=["10.0.0.1"]) == EEXIST


def test_an_offline_server_comes_back_high_under_its_number(api: Api, server: Methods) -> None:
    number = api(server.register, ip_data=["10.0.0.1"])
    put_down(server.kind, number, Priority.OFFLINE)

    assert api(server.register, ip_data=["10.0.0.1"]) == number
    assert api(server.listing)[0]["priority"] == Priority.HIGH


def test_no_number_left_is_enospc(api: Api, server: Methods) -> None:
    IdSpace.objects.update_or_create(name=server.space, defaults={"next_id": 0x80000000})

    assert api.fault(server.register, ip_data=["10.0.0.1"]) == ENOSPC
    assert api(server.listing) == []


def test_one_machine_may_be_head_and_storage_server(api: Api) -> None:
    assert api("registerHeadServer", ip_data=["10.0.0.1"])
    assert api("registerStorageServer", ip_data=["10.0.0.1"])


# -- disks ----------------------------------------------------------------------------------------


def test_a_disk_is_listed_with_its_room(api: Api, storage: int, disk: int) -> None:
    zero_everything()

    (row,) = api("listPhysicalDisks")

    assert row["pdskid"] == disk
    assert row["ssvrid"] == storage
    assert (row["capacity"], row["available"]) == (100, 99)
    assert row["local_path"] == "/dev/disk/by-id/first"
    assert len(row["iscsi_path"]) == 2
    assert row["resync"] == 0
    assert api("listStorageServers")[0]["available"] == 99


@pytest.mark.parametrize(
    "capacity", ["", "0", "-1", "1.5", "0x10", " 7", "7\n", "٣", "1e9", str(2**63 + 1), "9" * 5000]
)
def test_a_capacity_that_is_no_number_of_sectors_is_einval(
    api: Api, storage: int, capacity: str
) -> None:
    disk = {"ssvrid": storage, "local_path": "/dev/x", "capacity": capacity}

    assert api.fault("registerPhysicalDisk", **disk) == EINVAL
    assert not Disk.objects.exists()


def test_the_largest_disk_does_not_break_the_lists(api: Api, storage: int) -> None:
    api("registerPhysicalDisk", ssvrid=storage, local_path="/dev/x", capacity=str(2**63))

    assert api("listPhysicalDisks")[0]["capacity"] == 0x7FFFFFFF
    assert api("listStorageServers")[0]["capacity"] == 0x7FFFFFFF


@pytest.mark.parametrize("path", ["", "a\nb", "a\tb"])
def test_a_path_that_is_no_line_is_einval(api: Api, storage: int, path: str) -> None:
    disk = {"ssvrid": storage, "local_path": path, "capacity": "9999999"}

    assert api.fault("registerPhysicalDisk", **disk) == EINVAL


def test_a_disk_of_no_server_or_one_that_is_down_is_einval(api: Api, storage: int) -> None:
    put_down(StorageServer, storage, Priority.OFFLINE)
    disk = {"local_path": "/dev/x", "capacity": "9999999"}

    for server in (storage, storage + 1, 0, -1):
        assert api.fault("registerPhysicalDisk", ssvrid=server, **disk) == EINVAL


def test_a_disk_that_is_in_use_here_is_eexist_and_elsewhere_ebusy(
    api: Api, storage: int, disk: int
) -> None:
    other = api("registerStorageServer", ip_data=["10.0.0.2"])
    same = {"local_path": "/dev/disk/by-id/first", "capacity": str(100 << 21)}

    assert api.fault("registerPhysicalDisk", ssvrid=storage, **same) == EEXIST
    assert api.fault("registerPhysicalDisk", ssvrid=other, **same) == EBUSY


def test_a_labelled_disk_is_known_by_its_label_whatever_its_path(api: Api, storage: int) -> None:
    other = api("registerStorageServer", ip_data=["10.0.0.2"])
    label = {"disk_uuid": "u-1", "capacity": str(100 << 21)}
    api("registerPhysicalDisk", ssvrid=storage, local_path="/dev/a", **label)

    assert api.fault("registerPhysicalDisk", ssvrid=storage, local_path="/dev/b", **label) == EEXIST
    assert api.fault("registerPhysicalDisk", ssvrid=other, local_path="/dev/b", **label) == EBUSY


def test_a_disk_of_a_server_that_is_down_has_moved(api: Api, storage: int, disk: int) -> None:
    other = api("registerStorageServer", ip_data=["10.0.0.2"])
    put_down(StorageServer, storage, Priority.OFFLINE)

    assert add_disk(api, other, "/dev/disk/by-id/first") == disk
    assert api("listPhysicalDisks", ssvrid=other)[0]["priority"] == Priority.HIGH


@pytest.mark.parametrize("down", [Priority.OFFLINE, Priority.HALT])
def test_a_disk_comes_back_high_or_low_if_it_has_bad_blocks(
    api: Api, storage: int, disk: int, down: Priority
) -> None:
    put_down(Disk, disk, down)
    assert add_disk(api, storage, "/dev/disk/by-id/first") == disk
    assert api("listPhysicalDisks")[0]["priority"] == Priority.HIGH

    api("notifyBadBlocks", pdskid=disk, blocks=[7])
    put_down(Disk, disk, down)
    assert add_disk(api, storage, "/dev/disk/by-id/first") == disk
    assert api("listPhysicalDisks")[0]["priority"] == Priority.LOW


def test_no_number_for_a_disk_left_is_enospc(api: Api, storage: int) -> None:
    IdSpace.objects.update_or_create(name="disk", defaults={"next_id": 0x80000000})

    assert (
        api.fault("registerPhysicalDisk", ssvrid=storage, local_path="/dev/x", capacity="99999999")
        == ENOSPC
    )
    assert not Disk.objects.exists()


# -- deletion and lists ---------------------------------------------------------------------------

DELETES = [
    ("deleteHeadServer", "hsvrid", HeadServer),
    ("deleteStorageServer", "ssvrid", StorageServer),
    ("deletePhysicalDisk", "pdskid", Disk),
]


@pytest.mark.parametrize(("method", "member"), [row[:2] for row in DELETES])
@pytest.mark.parametrize("number", [0, -1, 99, 0x7FFFFFFF])
def test_to_delete_what_is_not_there_is_enoent(
    api: Api, method: str, member: str, number: int
) -> None:
    assert api.fault(method, **{member: number}) == ENOENT


@pytest.mark.usefixtures("head", "disk")
@pytest.mark.parametrize(("method", "member", "kind"), DELETES)
@pytest.mark.parametrize("priority", Priority)
def test_only_what_is_offline_or_faulty_is_deleted(
    api: Api, method: str, member: str, kind: Any, priority: Priority
) -> None:
    row = kind.objects.get()
    put_down(kind, row.pk, priority)

    if priority in (Priority.OFFLINE, Priority.FAULTY):
        assert api(method, **{member: row.pk}) == 0
        assert not kind.objects.exists()
    else:
        assert api.fault(method, **{member: row.pk}) == EBUSY
        assert kind.objects.exists()


def test_a_storage_server_takes_its_disks_with_it(api: Api, storage: int, disk: int) -> None:
    put_down(StorageServer, storage, Priority.OFFLINE)

    assert api("deleteStorageServer", ssvrid=storage) == 0
    assert api("listPhysicalDisks") == []


def test_what_holds_replicas_of_a_volume_stays(api: Api, pool: list[int], volume: int) -> None:
    disk = Disk.objects.get(pk=pool[0])
    put_down(Disk, disk.pk, Priority.FAULTY)
    put_down(StorageServer, disk.server_id, Priority.OFFLINE)

    assert api.fault("deletePhysicalDisk", pdskid=disk.pk) == EBUSY
    assert api.fault("deleteStorageServer", ssvrid=disk.server_id) == EBUSY


def test_a_number_is_never_given_twice(api: Api, head: int) -> None:
    put_down(HeadServer, head, Priority.OFFLINE)
    api("deleteHeadServer", hsvrid=head)

    assert api("registerHeadServer", ip_data=["10.0.9.1", "10.1.9.1"]) == head + 1


@pytest.mark.parametrize(
    ("method", "member"),
    [
        ("listHeadServers", "hsvrid"),
        ("listStorageServers", "ssvrid"),
        ("listPhysicalDisks", "ssvrid"),
    ],
)
def test_lists_choose_by_number_and_zero_is_none(
    api: Api, head: int, disk: int, method: str, member: str
) -> None:
    assert len(api(method)) == 1
    assert len(api(method, **{member: 0})) == 1
    assert len(api(method, **{member: 1})) == 1
    assert api.fault(method, **{member: 99}) == ENOENT
    assert api.fault(method, **{member: -1}) == ENOENT


def test_the_cluster_tells_who_it_is_and_stays_it(api: Api) -> None:
    first = api("vastsky.clusterInfo")

    assert len(first["cluster"]) == 36
    assert first["incarnation"] == 1
    assert api("vastsky.clusterInfo") == first
