"""A server that answers on one network only is a problem of its own, before data suffers."""

from datetime import datetime, timedelta

import pytest
from django.db.models import Q
from django.test import Client
from django.utils import timezone

from inventory.models import Address, HeadServer, StorageServer
from volumes.reports import problems
from volumes.reports.problems import Risk


def long_ago() -> datetime:
    return timezone.now() - timedelta(minutes=3)


def _silence(which: Q) -> None:
    Address.objects.filter(which).update(silent_since=long_ago())


@pytest.fixture
def one_down(well: None) -> None:
    _silence(Q(storage=2, position=1))


def test_it_is_told_where_and_since_when(one_down: None) -> None:
    (found,) = problems.find()

    assert found.title == ("Network B of ssvr-00000002 (10.1.0.3) does not answer, the other does")
    silent = Address.objects.get(silent_since__isnull=False)
    assert found.risk == Risk.NETWORK
    assert found.since
    assert silent.silent_since
    assert abs(found.since - silent.silent_since) < timedelta(seconds=1)
    assert found.about == StorageServer.objects.get(pk=2)
    assert problems.is_anything_wrong()


def test_it_is_part_of_the_verdict(one_down: None, console: Client) -> None:
    page = console.get("/admin/").content.decode()

    assert "Data is safe, something needs attention" in page
    assert "Network B of ssvr-00000002" in page


@pytest.mark.parametrize(
    "address",
    [
        "/admin/console/cluster/",
        "/admin/inventory/storageserver/2/change/",
        "/admin/inventory/storageserver/",
    ],
)
def test_the_silent_address_is_marked(one_down: None, console: Client, address: str) -> None:
    page = " ".join(console.get(address).content.decode().split())

    assert page.count("no answer on Network B") == 1
    _, after = page.split("10.1.0.3</span>")
    assert "silent 3 min" in after[:400]


def test_a_network_that_many_miss_is_one_problem(well: None, console: Client) -> None:
    _silence(Q(position=0) & (Q(storage__lt=4) | Q(head=1)))

    (found,) = problems.find()

    assert found.title == ("Network A of 4 servers (10.x) does not answer, the other does")
    page = console.get("/admin/console/problems/").content.decode()
    assert 'href="/admin/console/cluster/"' in page


def test_a_moments_silence_is_none(well: None) -> None:
    Address.objects.filter(position=1).update(silent_since=timezone.now())

    assert problems.find() == []
    assert not problems.is_anything_wrong()


def test_a_server_that_is_silent_altogether_is_told_as_that(well: None) -> None:
    _silence(Q(storage=2))
    StorageServer.objects.filter(pk=2).update(silent_since=long_ago())

    assert [problem.risk for problem in problems.find()] == [Risk.FAILED]


@pytest.mark.parametrize("kind", ["storage", "head"])
def test_a_list_shows_just_the_servers_on_one_network(
    well: None, console: Client, kind: str
) -> None:
    _silence(Q(position=0) & (Q(storage=3) | Q(head=2)))

    page = console.get(f"/admin/inventory/{kind}server/?answers=half")

    (row,) = page.context["cl"].result_list
    assert row in (StorageServer.objects.get(pk=3), HeadServer.objects.get(pk=2))
