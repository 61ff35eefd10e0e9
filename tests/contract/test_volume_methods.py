"""Volumes, snapshots, attach and detach: every documented outcome that needs no node."""

import re
import xmlrpc.client
from typing import Any

import pytest

from inventory.models import Extent, HeadServer, IdSpace, Priority
from tests.contract.api import Api, put_down
from volumes.models import Attachment, Job, LogicalVolume, Replica

ENOENT, EAGAIN, EBUSY, EEXIST, EINVAL, ENOSPC = 2, 11, 16, 17, 22, 28


State = Attachment.State


pytestmark = pytest.mark.django_db


def attach_behind(volume: int, head: int, state: State) -> None:
    """What an attach, or a failed one, left behind."""
    Attachment.objects.create(volume_id=volume, head_id=head, state=state)


@pytest.fixture
def snapshot(api: Api, volume: int) -> Any:
    return api("createSnapshot", origin_lvolid=volume, snapshot_lvolname="yesterday")


BAD_NAMES = [
    "",
    "x" * 65,
    ".",
    "..",
    "a/b",
    "a b",
    "a\n",
    "\na",
    "a\tb",
    "é",
    "a\u202eb",
    "٣",
    "$(reboot)",
    "a;b",
    "lvol-1",
    "lvol-000008d1",
    "lvol-DEAD",
]


NAMED = {
    "deleteLogicalVolume": {},
    "attachLogicalVolume": {"hsvrid": 1},
    "detachLogicalVolume": {},
    "showLogicalVolume": {},
    "listLogicalVolumes": {},
    "vastsky.forceAttach": {"hsvrid": 1},
}


def test_a_volume_has_three_replicas_unless_told_otherwise(api: Api, pool: list[int]) -> None:
    number = api("createLogicalVolume", lvolname="data", capacity=5)
    other = api("createLogicalVolume", lvolname="other", capacity=5, redundancy=2)

    assert Replica.objects.filter(mirror__volume=number).values("server").distinct().count() == 3
    assert Replica.objects.filter(mirror__volume=other).count() == 2


@pytest.mark.parametrize(
    "name", ["a", "x" * 64, "A.b-c_9", "...", "-rf", "lvol-", "lvol-xyz", "LVOL-1"]
)
def test_a_legal_name_is_accepted(api: Api, pool: list[int], name: str) -> None:
    assert api("createLogicalVolume", lvolname=name, capacity=1)
    assert api("listLogicalVolumes", lvolname=name)[0]["lvolname"] == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_illegal_name_is_einval_for_volumes_and_snapshots(
    api: Api, volume: int, name: str
) -> None:
    assert api.fault("createLogicalVolume", lvolname=name, capacity=1) == EINVAL
    assert api.fault("createSnapshot", origin_lvolid=volume, snapshot_lvolname=name) == EINVAL
    assert LogicalVolume.objects.count() == 1


@pytest.mark.parametrize(
    "members",
    [
        {"capacity": 0},
        {"capacity": -1},
        {"capacity": 1048577},
        {"capacity": 0x7FFFFFFF},
        {"capacity": 1, "redundancy": 1},
        {"capacity": 1, "redundancy": 0},
        {"capacity": 1, "redundancy": 10},
        {"capacity": 1, "redundancy": -3},
    ],
)
def test_a_number_out_of_range_is_einval(
    api: Api, pool: list[int], members: dict[str, int]
) -> None:
    assert api.fault("createLogicalVolume", lvolname="data", **members) == EINVAL


@pytest.mark.parametrize(
    "members",
    [
        {"capacity": 100},
        {"capacity": 1048576},
        {"capacity": 1, "redundancy": 4},
        {"capacity": 1, "tags": "ssd"},
    ],
)
def test_no_room_is_enospc_with_numbers_and_nothing_is_half_done(
    api: Api, pool: list[int], members: dict[str, Any]
) -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        api("createLogicalVolume", lvolname="data", **members)

    assert caught.value.faultCode == ENOSPC
    assert re.search(r"\d", caught.value.faultString)
    assert not LogicalVolume.objects.exists()
    assert not Extent.objects.filter(status=Extent.Status.BUSY).exists()


def test_no_number_left_is_enospc(api: Api, pool: list[int]) -> None:
    IdSpace.objects.filter(name="volume").update(next_id=0x80000000)

    assert api.fault("createLogicalVolume", lvolname="data", capacity=1) == ENOSPC
    assert not LogicalVolume.objects.exists()


def test_a_taken_name_is_eexist(api: Api, volume: int, snapshot: int) -> None:
    for name in ("data", "yesterday"):
        assert api.fault("createLogicalVolume", lvolname=name, capacity=1) == EEXIST
        assert api.fault("createSnapshot", origin_lvolid=volume, snapshot_lvolname=name) == EEXIST


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize(
    "names",
    [{"lvolid": 99}, {"lvolid": -1}, {"lvolname": "nope"}, {"lvolid": 99, "lvolname": "data"}],
)
def test_a_volume_that_does_not_exist_is_enoent_and_the_id_wins(
    api: Api, head: int, volume: int, method: str, names: dict[str, Any]
) -> None:
    absent = {**names, "lvolid": 9999} if names.get("lvolid") == 99 else names

    assert api.fault(method, **NAMED[method], **absent) == ENOENT
    assert LogicalVolume.objects.exists()


@pytest.mark.parametrize("method", [name for name in NAMED if name != "listLogicalVolumes"])
@pytest.mark.parametrize(
    "names", [{}, {"lvolid": 0}, {"lvolname": ""}, {"lvolid": 0, "lvolname": ""}]
)
def test_neither_id_nor_name_is_einval(
    api: Api, volume: int, method: str, names: dict[str, Any]
) -> None:
    assert api.fault(method, **NAMED[method], **names) == EINVAL


@pytest.mark.parametrize("names", [{"lvolname": "data"}, {"lvolid": 0, "lvolname": "data"}])
def test_a_name_alone_is_enough(api: Api, volume: int, names: dict[str, Any]) -> None:
    assert api("showLogicalVolume", **names)["lvolid"] == volume
    assert api("listLogicalVolumes", **names)[0]["lvolid"] == volume
    assert api("detachLogicalVolume", **names) == 0
    assert api("deleteLogicalVolume", **names) == 0


def test_the_id_wins_over_a_name(api: Api, volume: int) -> None:
    other = api("createLogicalVolume", lvolname="other", capacity=1)

    assert api("showLogicalVolume", lvolid=volume, lvolname="other")["lvolid"] == volume
    assert api("deleteLogicalVolume", lvolid=other, lvolname="data") == 0
    assert [row["lvolid"] for row in api("listLogicalVolumes")] == [volume]


def test_a_snapshot_is_a_volume_associated_to_its_origin(
    api: Api, volume: int, snapshot: int
) -> None:
    origin, taken = api("listLogicalVolumes")

    assert origin["associated_from"] == [{"lvolid": snapshot, "type": "snapshot"}]
    assert taken["associated_to"] == [{"lvolid": volume, "type": "snapshot"}]
    assert origin["associated_to"] == taken["associated_from"] == []
    assert (taken["redundancy"], taken["capacity"]) == (3, 5)


@pytest.mark.parametrize(
    "origin",
    [
        {},
        {"origin_lvolid": 0, "origin_lvolname": ""},
        {"origin_lvolid": 9999},
        {"origin_lvolid": 9999, "origin_lvolname": "data"},
        {"origin_lvolname": "nope"},
        {"origin_lvolname": "yesterday"},
    ],
)
def test_an_origin_that_cannot_have_a_snapshot_is_einval(
    api: Api, snapshot: int, origin: dict[str, Any]
) -> None:
    assert api.fault("createSnapshot", snapshot_lvolname="new", **origin) == EINVAL


def test_a_snapshot_without_room_is_enospc(api: Api, pool: list[int]) -> None:
    api("createLogicalVolume", lvolname="big", capacity=60)

    assert api.fault("createSnapshot", origin_lvolname="big", snapshot_lvolname="new") == ENOSPC


@pytest.mark.parametrize("state", [State.BINDING, State.UNBINDING])
def test_no_snapshot_while_the_origin_is_on_its_way(
    api: Api, volume: int, head: int, state: State
) -> None:
    attach_behind(volume, head, state)

    assert api.fault("createSnapshot", origin_lvolid=volume, snapshot_lvolname="new") == EBUSY


def test_an_origin_goes_only_after_its_snapshots(api: Api, volume: int, snapshot: int) -> None:
    assert api.fault("deleteLogicalVolume", lvolid=volume) == EBUSY
    assert api("deleteLogicalVolume", lvolid=snapshot) == 0
    assert api("deleteLogicalVolume", lvolid=volume) == 0
    assert api("listLogicalVolumes") == []


@pytest.mark.parametrize("state", State)
def test_an_attached_volume_is_not_deleted(api: Api, volume: int, head: int, state: State) -> None:
    attach_behind(volume, head, state)

    assert api.fault("deleteLogicalVolume", lvolid=volume) == EBUSY
    assert api("listLogicalVolumes")


def test_space_that_no_head_saw_is_free_at_once_and_the_name_too(api: Api, volume: int) -> None:
    room = [row["available"] for row in api("listPhysicalDisks")]

    api("deleteLogicalVolume", lvolid=volume)

    assert [row["available"] for row in api("listPhysicalDisks")] == [gb + 5 for gb in room]
    assert api("createLogicalVolume", lvolname="data", capacity=5) > volume


@pytest.mark.parametrize("method", ["attachLogicalVolume", "vastsky.forceAttach"])
def test_a_head_that_is_not_there_is_einval(api: Api, volume: int, method: str) -> None:
    for hsvrid in (0, -1, 99):
        assert api.fault(method, lvolid=volume, hsvrid=hsvrid) == EINVAL
    assert not Attachment.objects.exists()


@pytest.mark.parametrize("priority", [Priority.OFFLINE, Priority.FAULTY, Priority.HALT])
def test_a_head_that_is_down_is_einval(
    api: Api, volume: int, head: int, priority: Priority
) -> None:
    put_down(HeadServer, head, priority)

    assert api.fault("attachLogicalVolume", lvolid=volume, hsvrid=head) == EINVAL
    assert not Job.objects.exists()


@pytest.mark.parametrize("state", State)
def test_what_is_attached_or_on_its_way_is_ebusy(
    api: Api, volume: int, head: int, state: State
) -> None:
    attach_behind(volume, head, state)

    assert api.fault("attachLogicalVolume", lvolid=volume, hsvrid=head) == EBUSY


def test_a_snapshot_goes_with_its_origin_only(api: Api, head: int, snapshot: int) -> None:
    assert api.fault("attachLogicalVolume", lvolid=snapshot, hsvrid=head) == EINVAL
    assert api.fault("detachLogicalVolume", lvolid=snapshot) == EINVAL


def test_to_detach_what_is_not_attached_is_done_already(api: Api, volume: int) -> None:
    assert api("detachLogicalVolume", lvolid=volume) == 0
    assert api("detachLogicalVolume", lvolname="data") == 0


@pytest.mark.parametrize("state", [State.BINDING, State.UNBINDING])
def test_to_detach_what_is_on_its_way_is_eagain(
    api: Api, volume: int, head: int, state: State
) -> None:
    attach_behind(volume, head, state)

    assert api.fault("detachLogicalVolume", lvolid=volume) == EAGAIN


def test_an_attach_that_names_no_head_is_einval_whatever_the_volume(api: Api) -> None:
    for missing in ({}, {"hsvrid": 0}, {"hsvrname": ""}):
        assert api.fault("attachLogicalVolume", lvolname="nobody", **missing) == EINVAL
