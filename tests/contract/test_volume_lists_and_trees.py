"""What the lists and trees of volumes show."""

import re
from typing import Any

import pytest

from inventory.models import Disk, Priority
from tests.contract.api import Api
from volumes.models import Attachment, Mirror

ENOENT, EAGAIN, EBUSY, EEXIST, EINVAL, ENOSPC = 2, 11, 16, 17, 22, 28


State = Attachment.State


pytestmark = pytest.mark.django_db


def attach_behind(volume: int, head: int, state: State) -> None:
    """What an attach, or a failed one, left behind."""
    Attachment.objects.create(volume_id=volume, head_id=head, state=state)


@pytest.fixture
def snapshot(api: Api, volume: int) -> Any:
    return api("createSnapshot", origin_lvolid=volume, snapshot_lvolname="yesterday")


BINDS = {State.BINDING: (0, 1), State.BOUND: (1, 0), State.UNBINDING: (1, 2), State.ERROR: (2, 0)}


LVOL, LINEAR, MIRROR, DEXT, ORIGIN, SNAPSHOT = 0, 1, 2, 3, 6, 7


NODE = {"lvolid", "lvoltype", "capacity", "mirror_status", "lvolspec", "labels", "components"}


def nodes(tree: dict[str, Any]) -> list[dict[str, Any]]:
    below = [node for child in tree["components"] for node in nodes(child)]
    return [tree, *below]


@pytest.mark.parametrize("state", State)
def test_the_list_shows_where_a_volume_is_attached(
    api: Api, volume: int, head: int, state: State
) -> None:
    attach_behind(volume, head, state)

    (row,) = api("listLogicalVolumes", lvolid=volume)

    assert (row["bind_status"], row["bind_event"]) == BINDS[state]
    assert row["hsvrid"] == head


def test_the_list_has_every_documented_member(api: Api, volume: int) -> None:
    (row,) = api("listLogicalVolumes")

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row.pop("ctime"))
    assert row.pop("fault") is False
    assert row == {
        "hsvrid": 0,
        "lvolid": volume,
        "lvolname": "data",
        "redundancy": 3,
        "capacity": 5,
        "associated_to": [],
        "associated_from": [],
        "bind_status": 0,
        "bind_event": 0,
    }


def test_the_tree_goes_from_the_volume_to_its_extents(api: Api, volume: int) -> None:
    tree = api("showLogicalVolume", lvolid=volume)

    everything = nodes(tree)
    assert [node["lvoltype"] for node in everything] == [LVOL, ORIGIN, LINEAR, MIRROR, *[DEXT] * 3]
    assert all(set(node) == NODE for node in everything)
    assert tree["labels"] == ["data", f"lvol-{volume:08x}"]
    assert len({node["lvolid"] for node in everything}) == len(everything)


def test_the_leaves_say_where_they_lie(api: Api, pool: list[int], volume: int) -> None:
    leaves = [n for n in nodes(api("showLogicalVolume", lvolid=volume)) if n["lvoltype"] == DEXT]

    assert sorted(leaf["lvolspec"]["pdskid"] for leaf in leaves) == pool
    for leaf in leaves:
        assert set(leaf["lvolspec"]) >= {"pdskid", "offset", "ssvrid", "iscsi_path"}
        assert len(leaf["lvolspec"]["iscsi_path"]) == 2
        assert (leaf["capacity"], leaf["mirror_status"]) == (5, 1)


def test_mirrors_come_in_the_order_of_their_place(api: Api, pool: list[int]) -> None:
    volume = api("createLogicalVolume", lvolname="big", capacity=25, redundancy=2)

    mirrors = [n for n in nodes(api("showLogicalVolume", lvolid=volume)) if n["lvoltype"] == MIRROR]

    assert [mirror["capacity"] for mirror in mirrors] == [10, 10, 5]
    placed = Mirror.objects.filter(volume=volume).order_by("offset_gb")
    assert [mirror["lvolid"] for mirror in mirrors] == [mirror.pk for mirror in placed]


def test_the_tree_holds_the_whole_tree_of_each_associated_volume(
    api: Api, volume: int, snapshot: int
) -> None:
    (associated,) = api("showLogicalVolume", lvolid=volume)["lvolspec"]["assoc"]

    assert associated["lvolid"] == snapshot
    assert associated["components"][0]["lvoltype"] == SNAPSHOT
    assert all(set(node) == NODE for node in nodes(associated))


def test_shutdown_halts_everything(api: Api, head: int, volume: int) -> None:
    assert api("shutdownAll") == 0

    assert {row["priority"] for row in api("listHeadServers")} == {Priority.OFFLINE}
    assert {row["priority"] for row in api("listStorageServers")} == {Priority.HALT}
    assert {row["priority"] for row in api("listPhysicalDisks")} == {Priority.HALT}
    assert api.fault("attachLogicalVolume", lvolid=volume, hsvrid=head) == EINVAL


@pytest.mark.parametrize("state", State)
def test_no_shutdown_while_a_volume_is_attached(
    api: Api, volume: int, head: int, state: State
) -> None:
    attach_behind(volume, head, state)

    assert api.fault("shutdownAll") == EBUSY
    assert {row["priority"] for row in api("listStorageServers")} == {Priority.HIGH}
    assert {row["priority"] for row in api("listHeadServers")} == {Priority.HIGH}
    assert not Disk.objects.exclude(priority=Priority.HIGH).exists()
