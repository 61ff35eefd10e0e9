"""The console tells the room there is as people mean it, tries placements, and foresees deaths."""

import re

import pytest
from django.test import Client

from inventory.models import HeadServer, Priority, StorageServer
from tests.conftest import AddServer
from tests.console.conftest import PART, SignIn
from tests.contract.api import Api, put_down
from volumes.models import Attachment, LogicalVolume, Replica

pytestmark = pytest.mark.django_db
PLACEMENT = "/admin/console/placement/"


def read(client: Client, address: str, **query: str | int) -> str:
    """Read a page as people do: its words, without what is between them."""
    answer = client.get(address, query, headers=PART if "overview" in address else {})
    assert answer.status_code == 200
    return " ".join(re.sub("<[^>]*>", " ", answer.content.decode()).split())


def test_room_is_told_in_replicas_and_for_one_volume(
    console: Client, call: Api, add_server: AddServer
) -> None:
    for gb in (100, 100, 40):
        add_server(gb=gb)

    page = read(console, "/admin/console/overview/outlook/")

    assert "120 G" in page.split("in 2 replicas")[0]
    assert re.search(r"40 Gi?B can still be created in 3 replicas", page)


def test_a_cluster_that_stands_the_loss_of_its_fullest_server_says_so(
    console: Client, call: Api, add_server: AddServer
) -> None:
    for _ in range(4):
        add_server()
    for name in ("one", "two"):
        call("createLogicalVolume", lvolname=name, capacity=50)

    assert "everything still fits" in read(console, "/admin/console/overview/outlook/")

    call("createLogicalVolume", lvolname="three", capacity=30)
    page = read(console, "/admin/console/overview/outlook/")
    assert re.search(r"\d volumes? stays? degraded", page)


def test_what_leaves_a_dead_server_must_fit_together_and_not_one_by_one(
    console: Client, call: Api, add_server: AddServer
) -> None:
    servers = [add_server() for _ in range(3)]
    for name in ("one", "two"):
        call("createLogicalVolume", lvolname=name, capacity=60, redundancy=2)
    full = max(servers, key=lambda pk: Replica.objects.filter(server=pk).count())

    page = read(console, PLACEMENT, dies=f"storage-{full}")

    assert "no data is lost" in page
    assert Replica.objects.filter(server=full).count() > 1
    assert "degraded" in page


def test_each_server_says_which_filter_refused_it_first(
    console: Client, call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server()
    down = add_server()
    put_down(StorageServer, down, Priority.OFFLINE)

    page = read(console, PLACEMENT, capacity_gb=20, redundancy=3)

    assert page.count("chosen 2 replicas") == 3
    assert "refused not HIGH or LOW" in page
    assert "fits 2 mirrors on 3 servers" in page
    assert LogicalVolume.objects.count() == 0


def test_what_does_not_fit_says_so_in_numbers(console: Client, add_server: AddServer) -> None:
    add_server()

    page = read(console, PLACEMENT, capacity_gb=20, redundancy=2)

    assert "does not fit no room for 20 GiB in 2 replicas" in page


def test_a_rack_that_has_all_of_a_volume_takes_it_along(
    console: Client, call: Api, add_server: AddServer
) -> None:
    first = add_server(site="north", rack="1")
    add_server(site="north", rack="1")
    call("createLogicalVolume", lvolname="narrow", capacity=5, redundancy=2)
    add_server(site="north", rack="2")

    page = read(console, PLACEMENT, dies=f"rack-of-{first}")

    assert "If rack 1 of north died now" in page
    assert "lost 1 volume: some part has its only good replicas there. " in page
    assert "narrow" in page


def test_a_head_that_dies_cuts_off_what_is_attached(
    console: Client, call: Api, add_server: AddServer
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

    assert "1 volume loses its user" in read(console, PLACEMENT, dies=f"head-{head}")


@pytest.mark.parametrize("dies", ["storage-999", "disk-", "head-1; drop", "rack-of-x", "what"])
def test_what_is_not_there_is_told(console: Client, well: None, dies: str) -> None:
    assert "There is no such place" in read(console, PLACEMENT, dies=dies)


@pytest.mark.parametrize(
    ("page", "dies"),
    [
        ("storageserver/1", "storage-1"),
        ("headserver/1", "head-1"),
        ("disk/3", "disk-3"),
    ],
)
def test_the_page_of_hardware_leads_to_what_if_it_died(
    console: Client, well: None, page: str, dies: str
) -> None:
    shown = console.get(f"/admin/inventory/{page}/change/").content.decode()

    assert f"{PLACEMENT}?dies={dies}#what-if" in shown
    assert "died now" in read(console, PLACEMENT, dies=dies)


def test_a_size_that_no_volume_has_is_told_at_its_field(console: Client, well: None) -> None:
    assert "greater than or equal to 1" in read(console, PLACEMENT, capacity_gb=0, redundancy=3)


def test_who_has_no_role_sees_no_placement(sign_in: SignIn) -> None:
    assert sign_in("").get(PLACEMENT).status_code == 403
    assert sign_in("viewer").get(PLACEMENT).status_code == 200
