"""Lists and trees carry exactly the document's members, whatever the state, in few queries."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from inventory.models import Disk, HeadServer, Priority, StorageServer
from tests.contract.api import Api, put_down
from volumes.lifecycle import volumes
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.placement import allocation

ENOENT = 2
LVOL, LINEAR, MIRROR, DEXT, SNAPSHOT_ORIGIN, SNAPSHOT = 0, 1, 2, 3, 6, 7
NODE = {
    "lvolid": int,
    "lvoltype": int,
    "capacity": int,
    "mirror_status": int,
    "lvolspec": dict,
    "labels": list,
    "components": list,
}
LISTED = {
    "hsvrid": int,
    "lvolid": int,
    "lvolname": str,
    "redundancy": int,
    "capacity": int,
    "associated_to": list,
    "associated_from": list,
    "fault": bool,
    "bind_status": int,
    "bind_event": int,
    "ctime": str,
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def volume(call: Api, add_server: Callable[..., int]) -> LogicalVolume:
    for _ in range(3):
        add_server(gb=200)
    lvolid = call("createLogicalVolume", lvolname="data", capacity=25, redundancy=2)
    return LogicalVolume.objects.get(pk=lvolid)


@pytest.fixture
def head(call: Api) -> HeadServer:
    return HeadServer.objects.get(pk=call("registerHeadServer", ip_data=["10.0.7.1", "10.1.7.1"]))


def add_snapshot(origin: LogicalVolume, name: str) -> LogicalVolume:
    with transaction.atomic():
        snapshot = LogicalVolume(
            name=name,
            capacity_gb=origin.capacity_gb,
            store_gb=26,
            redundancy=origin.redundancy,
            origin=origin,
        )
        volumes.record(snapshot)
        allocation.reserve(snapshot, [10, 10, 6])
    return snapshot


def types(struct: dict[str, Any]) -> dict[str, type]:
    return {name: type(member) for name, member in struct.items()}


def every_node(struct: dict[str, Any]) -> list[dict[str, Any]]:
    below = [*struct["components"], *struct["lvolspec"].get("assoc", [])]
    return [struct, *(node for child in below for node in every_node(child))]


# -- listLogicalVolumes ---------------------------------------------------------------------------


def test_a_fresh_volume_is_listed_with_exactly_the_documented_members(
    call: Api, volume: LogicalVolume
) -> None:
    (listed,) = call("listLogicalVolumes")

    assert types(listed) == LISTED
    assert listed == {
        "hsvrid": 0,
        "lvolid": volume.pk,
        "lvolname": "data",
        "redundancy": 2,
        "capacity": 25,
        "associated_to": [],
        "associated_from": [],
        "fault": False,
        "bind_status": 0,
        "bind_event": 0,
        "ctime": volume.created.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    assert call("listLogicalVolumes", lvolid=volume.pk) == [listed]
    assert call("listLogicalVolumes", lvolname="data") == [listed]
    assert call("listLogicalVolumes", lvolid=0, lvolname="") == [listed]
    assert call.fault("listLogicalVolumes", lvolid=volume.pk + 1) == ENOENT
    assert call.fault("listLogicalVolumes", lvolname="other") == ENOENT


@pytest.mark.parametrize(
    ("state", "bind"),
    [("binding", (0, 1)), ("bound", (1, 0)), ("unbinding", (1, 2)), ("error", (2, 0))],
)
def test_a_group_is_shown_where_its_origin_is_attached(
    call: Api, volume: LogicalVolume, head: HeadServer, state: str, bind: tuple[int, int]
) -> None:
    snapshot = add_snapshot(volume, "snap")
    Attachment.objects.create(volume=volume, head=head, state=state)

    for one in (volume, snapshot):
        (listed,) = call("listLogicalVolumes", lvolid=one.pk)
        assert (listed["hsvrid"], listed["bind_status"], listed["bind_event"]) == (head.pk, *bind)
    assert [v["hsvrid"] for v in call("listLogicalVolumes")] == [head.pk, head.pk]


def test_associations_mirror_each_other(call: Api, volume: LogicalVolume) -> None:
    first, second = add_snapshot(volume, "one"), add_snapshot(volume, "two")

    origin, *snapshots = call("listLogicalVolumes")

    assert origin["associated_to"] == []
    assert origin["associated_from"] == [
        {"lvolid": first.pk, "type": "snapshot"},
        {"lvolid": second.pk, "type": "snapshot"},
    ]
    for snapshot in snapshots:
        assert snapshot["associated_to"] == [{"lvolid": volume.pk, "type": "snapshot"}]
        assert snapshot["associated_from"] == []
    alone = [call("listLogicalVolumes", lvolid=v.pk)[0] for v in (volume, first, second)]
    assert alone == [origin, *snapshots]


@pytest.mark.parametrize(
    ("status", "shown", "fault"),
    [(1, 1, False), (2, 2, False), (3, 3, True), (4, 4, True), (5, 1, False)],
)
def test_the_fault_flag_is_exact(
    call: Api, volume: LogicalVolume, status: int, shown: int, *, fault: bool
) -> None:
    other = call("createLogicalVolume", lvolname="other", capacity=5, redundancy=2)
    replica = Replica.objects.filter(mirror__volume=volume)[0]
    Replica.objects.filter(pk=replica.pk).update(status=status)

    flags = {listed["lvolid"]: listed["fault"] for listed in call("listLogicalVolumes")}

    assert flags == {volume.pk: fault, other: False}
    assert call("listLogicalVolumes", lvolid=volume.pk)[0]["fault"] is fault
    assert call("listLogicalVolumes", lvolid=other)[0]["fault"] is False
    tree = call("showLogicalVolume", lvolid=volume.pk)
    (node,) = [node for node in every_node(tree) if node["lvolid"] == replica.pk]
    assert node["mirror_status"] == shown


# -- showLogicalVolume ----------------------------------------------------------------------------


def test_a_tree_goes_from_the_volume_down_to_its_extents(call: Api, volume: LogicalVolume) -> None:
    lvol = call("showLogicalVolume", lvolname="data")

    assert all(types(node) == NODE for node in every_node(lvol))
    assert lvol["labels"] == ["data", f"lvol-{volume.pk:08x}"]
    assert set(lvol["lvolspec"]) == {"lvolname", "redundancy", "assoc", "ctime"}
    (origin,) = lvol["components"]
    (linear,) = origin["components"]
    kinds = [(node["lvoltype"], node["capacity"]) for node in (lvol, origin, linear)]
    assert kinds == [(LVOL, 25), (SNAPSHOT_ORIGIN, 25), (LINEAR, 25)]
    assert (origin["lvolid"], linear["lvolid"]) == (volume.node_id, volume.linear_id)
    mirrors = linear["components"]
    assert [(m["lvoltype"], m["capacity"]) for m in mirrors] == [
        (MIRROR, 10),
        (MIRROR, 10),
        (MIRROR, 5),
    ]
    in_order = volume.mirrors.order_by("offset_gb").values_list("pk", flat=True)
    assert [m["lvolid"] for m in mirrors] == list(in_order)


def test_an_extent_tells_where_it_is(call: Api, volume: LogicalVolume) -> None:
    mirror = Mirror.objects.filter(volume=volume).order_by("offset_gb")[2]
    lvol = call("showLogicalVolume", lvolid=volume.pk)

    shown = lvol["components"][0]["components"][0]["components"][2]["components"]

    replicas = mirror.replicas.select_related("extent").order_by("pk")
    assert shown == [
        {
            "lvolid": replica.pk,
            "lvoltype": DEXT,
            "capacity": 5,
            "mirror_status": 1,
            "lvolspec": {
                "pdskid": replica.extent.disk_id,
                "offset": replica.extent.offset_gb,
                "ssvrid": replica.server_id,
                "iscsi_path": [
                    f"nbd://10.{net}.0.{replica.server_id}/dext-{replica.pk:08x}" for net in (8, 9)
                ],
            },
            "labels": [],
            "components": [],
        }
        for replica in replicas
    ]


def test_associated_volumes_are_shown_whole(call: Api, volume: LogicalVolume) -> None:
    snapshot = add_snapshot(volume, "snap")

    origin_tree = call("showLogicalVolume", lvolid=volume.pk)
    snapshot_tree = call("showLogicalVolume", lvolid=snapshot.pk)

    (inside,) = origin_tree["lvolspec"]["assoc"]
    assert inside["components"] == snapshot_tree["components"]
    assert inside["lvolspec"]["assoc"] == []
    (back,) = snapshot_tree["lvolspec"]["assoc"]
    assert back["lvolid"] == volume.pk
    (node,) = snapshot_tree["components"]
    assert (node["lvoltype"], node["lvolid"], node["capacity"]) == (SNAPSHOT, snapshot.node_id, 25)
    assert node["lvolspec"] == {"origin_lvolid": volume.node_id}
    assert node["components"][0]["capacity"] == 26


def test_a_mirror_without_replicas_is_still_shown(call: Api, volume: LogicalVolume) -> None:
    Replica.objects.all().delete()

    lvol = call("showLogicalVolume", lvolid=volume.pk)

    mirrors = lvol["components"][0]["components"][0]["components"]
    assert [mirror["components"] for mirror in mirrors] == [[], [], []]


# -- servers and disks ----------------------------------------------------------------------------


def rebuild(volume: LogicalVolume, replica: Replica | None = None) -> None:
    mirror = replica.mirror if replica else volume.mirrors.all()[0]
    Job.objects.create(
        id=Job.objects.count() + 1,
        kind=Job.Kind.REBUILD,
        subject="x",
        volume=volume,
        mirror=mirror,
        extent_id=replica.pk if replica else None,
        due=timezone.now(),
    )


def test_a_head_counts_the_rebuilds_of_what_is_attached_there(
    call: Api, volume: LogicalVolume, head: HeadServer
) -> None:
    other = call("registerHeadServer", ip_data=["10.0.7.2"])
    Attachment.objects.create(volume=volume, head=head, state="bound")
    rebuild(volume)

    assert call("listHeadServers") == [
        {"hsvrid": head.pk, "priority": 1, "ip_data": ["10.0.7.1", "10.1.7.1"], "resync": 1},
        {"hsvrid": other, "priority": 1, "ip_data": ["10.0.7.2", "10.0.7.2"], "resync": 0},
    ]
    assert [h["hsvrid"] for h in call("listHeadServers", hsvrid=other)] == [other]
    assert call.fault("listHeadServers", hsvrid=99) == ENOENT


def test_a_storage_server_sums_up_its_disks_and_rebuilds(call: Api, volume: LogicalVolume) -> None:
    replica = Replica.objects.filter(mirror__volume=volume)[0]
    rebuild(volume, replica)
    Job.objects.create(
        id=9, kind="rebuild", state="done", subject="x", extent=replica.extent, due=timezone.now(),
        finished=timezone.now(),
    )  # fmt: skip

    (listed,) = call("listStorageServers", ssvrid=replica.server_id)

    used = sum(
        Replica.objects.filter(server=replica.server_id).values_list("extent__size_gb", flat=True)
    )
    number = replica.server_id
    assert listed == {
        "ssvrid": number,
        "priority": 1,
        "ip_data": [f"10.8.0.{number}", f"10.9.0.{number}"],
        "resync": 1,
        "available": 200 - used,
        "capacity": 201,
    }
    assert listed in call("listStorageServers")
    assert sum(s["resync"] for s in call("listStorageServers")) == 1
    assert call.fault("listStorageServers", ssvrid=99) == ENOENT


def test_a_disk_is_listed_with_its_room(call: Api, volume: LogicalVolume) -> None:
    replica = Replica.objects.filter(mirror__volume=volume).select_related("extent__disk")[0]
    rebuild(volume, replica)

    (listed,) = call("listPhysicalDisks", ssvrid=replica.server_id)

    used = sum(
        Replica.objects.filter(server=replica.server_id).values_list("extent__size_gb", flat=True)
    )
    number, disk = replica.server_id, replica.extent.disk
    assert listed == {
        "ssvrid": number,
        "pdskid": disk.pk,
        "priority": 1,
        "iscsi_path": [f"nbd://10.{net}.0.{number}/pdsk-{disk.pk:08x}" for net in (8, 9)],
        "local_path": disk.local_path,
        "resync": 1,
        "available": 200 - used,
        "capacity": 201,
    }
    assert len(call("listPhysicalDisks")) == 3
    assert call.fault("listPhysicalDisks", ssvrid=99) == ENOENT


@pytest.mark.parametrize("kind", [Disk, StorageServer])
@pytest.mark.parametrize("priority", list(Priority))
def test_available_is_what_can_be_allocated_now(
    call: Api, add_server: Callable[..., int], kind: type[Any], priority: Priority
) -> None:
    server = add_server(gb=50)
    put_down(kind, server if kind is StorageServer else Disk.objects.get().pk, priority)

    expected = 50 if priority in {Priority.HIGH, Priority.LOW} else 0
    assert call("listStorageServers")[0]["available"] == expected
    assert call("listPhysicalDisks")[0]["available"] == expected
    assert call("listPhysicalDisks")[0]["capacity"] == 51


def test_an_empty_system_lists_nothing(call: Api) -> None:
    for method in ("listLogicalVolumes", "listHeadServers", "listStorageServers"):
        assert call(method) == []
    assert call("listPhysicalDisks") == []


# -- how many queries -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "most"),
    [
        ("listLogicalVolumes", 3),
        ("listStorageServers", 5),
        ("listPhysicalDisks", 4),
        ("listHeadServers", 3),
    ],
)
def test_a_list_takes_a_constant_number_of_queries(
    call: Api, volume: LogicalVolume, method: str, most: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(5):
        add_snapshot(volume, f"snap-{number}")

    with django_assert_max_num_queries(most):
        call(method)


def test_a_tree_takes_a_constant_number_of_queries(
    call: Api, volume: LogicalVolume, django_assert_max_num_queries: Any
) -> None:
    for number in range(5):
        add_snapshot(volume, f"snap-{number}")

    with django_assert_max_num_queries(4):
        call("showLogicalVolume", lvolid=volume.pk)
