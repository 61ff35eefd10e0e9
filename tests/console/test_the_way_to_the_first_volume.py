"""The overview leads from the empty cluster to the first volume, with ticks at what is done."""

import re

import pytest
from django.test import Client
from pytest_django import Settings

from tests.conftest import AddServer
from tests.console.conftest import SignIn
from tests.contract.api import Api

pytestmark = pytest.mark.django_db


def ticks(client: Client) -> dict[str, bool]:
    page = client.get("/admin/").content.decode()
    found = re.findall(r"<strong>([^<]*)<span[^>]*>: (done|to do)<", page)
    return {title: said == "done" for title, said in found}


def test_nothing_is_done_in_an_empty_cluster(console: Client, settings: Settings) -> None:
    settings.VASTSKY_IDENTITY = None

    assert set(ticks(console).values()) == {False}
    assert list(ticks(console))[-1] == "The first volume"


def test_each_thing_that_is_there_is_ticked(
    console: Client, call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server()
    without_head = ticks(console)
    call("registerHeadServer", ip_data=["10.7.0.1"])

    assert [title for title, done in without_head.items() if not done] == [
        "A head server",
        "The first volume",
    ]
    assert ticks(console)["A head server"]


def test_two_storage_servers_are_told_as_too_few_for_three_replicas(
    console: Client, add_server: AddServer
) -> None:
    add_server()
    add_server()

    assert not ticks(console)["Storage servers"]
    assert "2 of 3 there" in console.get("/admin/").content.decode()


def test_the_way_is_over_with_the_first_volume(
    console: Client, call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server()
    call("createLogicalVolume", lvolname="data", capacity=5)

    assert ticks(console) == {}


def test_only_who_may_do_a_step_is_led_there(sign_in: SignIn, add_server: AddServer) -> None:
    add_server()

    assert "/console/volumes/new/" not in _way(sign_in("viewer"))
    assert "/console/volumes/new/" in _way(sign_in("operator"))


def _way(client: Client) -> str:
    page = client.get("/admin/").content.decode()
    return page[page.index('class="vs-steps"') : page.index("By hand")]
