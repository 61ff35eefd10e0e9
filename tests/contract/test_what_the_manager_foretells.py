"""Room by failure domain, where a volume would lie, and what if a server or disk died now."""

import pytest

from inventory import recovery, servers
from inventory.models import HeadServer, Priority, StorageServer
from tests.conftest import AddServer
from tests.contract.api import Api, put_down
from volumes.models import Attachment, LogicalVolume, Replica

ENOENT, EAGAIN, EINVAL, ENOSPC = 2, 11, 22, 28

pytestmark = pytest.mark.django_db


def test_capacity_is_told_by_failure_domain(call: Api, add_server: AddServer) -> None:
    add_server(site="north", rack="1")
    add_server(disks=2, site="north", rack="2")
    down = add_server(site="north", rack="2")
    put_down(StorageServer, down, Priority.OFFLINE)

    told = call("vastsky.capacity", redundancy=2)

    assert told["domains"] == [
        {"site": "north", "rack": "1", "servers": 1, "disks": 1, "capacity": 101, "available": 100},
        {"site": "north", "rack": "2", "servers": 2, "disks": 3, "capacity": 303, "available": 200},
    ]
    assert (told["capacity"], told["available"]) == (404, 300)


@pytest.mark.parametrize("redundancy", [2, 3])
def test_a_volume_of_the_largest_size_has_a_place_and_a_larger_one_has_none(
    call: Api, add_server: AddServer, redundancy: int
) -> None:
    for gb in (40, 70, 100, 25):
        add_server(gb=gb)
    largest = call("vastsky.capacity", redundancy=redundancy)["largest"]

    volume = {"lvolname": "big", "redundancy": redundancy}
    assert call.fault("createLogicalVolume", capacity=largest + 1, **volume) == ENOSPC
    assert call("createLogicalVolume", capacity=largest, **volume)


def test_capacity_of_tagged_disks_leaves_out_the_others(call: Api, add_server: AddServer) -> None:
    add_server()

    told = call("vastsky.capacity", tags="ssd")

    assert told == {"capacity": 0, "available": 0, "largest": 0, "domains": [], "recovery": ""}


def test_in_recovery_mode_nobody_is_told_that_room_can_be_had(
    call: Api, add_server: AddServer
) -> None:
    add_server()
    servers.cluster()
    recovery.enter("a test")

    assert call("vastsky.capacity")["recovery"] == "a test"
    assert call.fault("vastsky.planVolume", capacity=1, redundancy=2) == EAGAIN


def test_a_plan_lays_a_volume_where_creating_it_does(call: Api, add_server: AddServer) -> None:
    for _ in range(4):
        add_server()
    planned = call("vastsky.planVolume", capacity=25, redundancy=2)
    assert call("listLogicalVolumes") == []

    volume = call("createLogicalVolume", lvolname="data", capacity=25, redundancy=2)

    laid = Replica.objects.filter(mirror__volume=volume).order_by("mirror__offset_gb", "pk")
    assert [mirror["capacity"] for mirror in planned["mirrors"]] == [10, 10, 5]
    assert [replica for mirror in planned["mirrors"] for replica in mirror["replicas"]] == [
        {"ssvrid": server, "pdskid": disk}
        for server, disk in laid.values_list("server", "extent__disk")
    ]


def test_a_plan_that_has_no_room_says_why_in_numbers(call: Api, add_server: AddServer) -> None:
    add_server()

    assert call.fault("vastsky.planVolume", capacity=10) == ENOSPC
    assert call.fault("vastsky.planVolume", capacity=0) == EINVAL
    assert call.fault("vastsky.planVolume", capacity=1, redundancy=1) == EINVAL


def test_what_only_one_server_has_would_be_lost_with_it(call: Api, add_server: AddServer) -> None:
    for _ in range(3):
        add_server()
    volume = call("createLogicalVolume", lvolname="data", capacity=5)
    kept, *others = Replica.objects.filter(mirror__volume=volume)
    whole = call("vastsky.planFailure", ssvrid=kept.server_id)

    Replica.objects.filter(pk__in=[other.pk for other in others]).update(status=4)
    alone = call("vastsky.planFailure", ssvrid=kept.server_id)

    assert (whole["copies"], whole["gb"], whole["lost"]) == (1, 5, [])
    assert whole["stuck"] == 1
    assert "no room for 5 GiB" in whole["reason"]
    assert alone["lost"] == [{"lvolid": volume, "lvolname": "data"}]
    assert call("vastsky.planFailure", pdskid=kept.extent.disk_id)["lost"] == alone["lost"]


def test_what_is_attached_to_a_head_would_be_cut_off_with_it(
    call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server()
    head = call("registerHeadServer", ip_data=["10.7.0.1"])
    volume = call("createLogicalVolume", lvolname="data", capacity=5)
    Attachment.objects.create(
        volume=LogicalVolume.objects.get(pk=volume),
        head=HeadServer.objects.get(pk=head),
        state=Attachment.State.BOUND,
    )

    told = call("vastsky.planFailure", hsvrid=head)

    assert told["cut_off"] == [{"lvolid": volume, "lvolname": "data"}]
    assert (told["copies"], told["lost"]) == (0, [])


def test_a_rack_and_a_site_may_die_as_a_whole(call: Api, add_server: AddServer) -> None:
    for rack in ("one", "one", "two", "two"):
        server = add_server()
        StorageServer.objects.filter(pk=server).update(site="hall", rack=rack)
    volume = call("createLogicalVolume", lvolname="data", capacity=5, redundancy=2)

    rack = call("vastsky.planFailure", site="hall", rack="one")
    site = call("vastsky.planFailure", site="hall")

    assert (rack["copies"], rack["stuck"], rack["lost"]) == (1, 0, [])
    assert (site["copies"], site["stuck"]) == (2, 2)
    assert site["lost"] == [{"lvolid": volume, "lvolname": "data"}]
    assert call.fault("vastsky.planFailure", site="hall", rack="three") == ENOENT
    assert call.fault("vastsky.planFailure", rack="one") == ENOENT
    assert call.fault("vastsky.planFailure", site="hall", ssvrid=1) == EINVAL


def test_one_place_that_exists_is_asked_about(call: Api) -> None:
    assert call.fault("vastsky.planFailure") == EINVAL
    assert call.fault("vastsky.planFailure", ssvrid=1, pdskid=1) == EINVAL
    assert call.fault("vastsky.planFailure", hsvrid=1) == ENOENT
