"""Servers register, come back, and are told apart by their addresses and their boots."""

from typing import Any

import pytest
from django.utils import timezone

from inventory import registration, servers
from inventory.errors import Exists
from inventory.models import Address, Cluster, HeadServer, IdSpace, Priority, StorageServer
from tests.contract.api import Api, put_down

EBUSY, EEXIST, ENOENT, ENOSPC = 16, 17, 2, 28
KINDS: list[tuple[str, type[Any]]] = [
    ("registerHeadServer", HeadServer),
    ("registerStorageServer", StorageServer),
]
each_kind = pytest.mark.parametrize(("method", "kind"), KINDS)
A, B, C = "10.0.0.1", "10.1.0.1", "10.1.0.2"

pytestmark = pytest.mark.django_db


@each_kind
def test_ids_begin_at_one_and_are_never_used_twice(call: Api, method: str, kind: type[Any]) -> None:
    first = call(method, ip_data=[A, B])
    put_down(kind, first, Priority.OFFLINE)
    call(method.replace("register", "delete"), **{_id_name(method): first})

    assert first == 1
    assert call(method, ip_data=[A, B]) == 2


@each_kind
def test_a_server_that_is_up_exists(call: Api, method: str, kind: type[Any]) -> None:
    call(method, ip_data=[A, B], boot_id="one")

    assert call.fault(method, ip_data=[A, B]) == EEXIST
    assert call.fault(method, ip_data=[A, B], boot_id="two") == EEXIST


@each_kind
def test_the_same_boot_is_known_again(call: Api, method: str, kind: type[Any]) -> None:
    server = call(method, ip_data=[A, B], boot_id="one", site="north")
    put_down(kind, server, Priority.EVACUATE)

    assert call(method, ip_data=[B, A], boot_id="one", rack="7") == server
    row = kind.objects.get()
    assert (row.priority, row.site, row.rack) == (Priority.EVACUATE, "north", "7")


@each_kind
@pytest.mark.parametrize("down", [Priority.OFFLINE, Priority.HALT])
def test_a_server_that_was_down_comes_back_high(
    call: Api, method: str, kind: type[Any], down: Priority
) -> None:
    server = call(method, ip_data=[A, B], boot_id="one")
    put_down(kind, server, down)
    kind.objects.update(silent_since=timezone.now())

    assert call(method, ip_data=[A, B], boot_id="two") == server
    row = kind.objects.get()
    assert (row.priority, row.boot_id, row.silent_since) == (Priority.HIGH, "two", None)


@each_kind
@pytest.mark.parametrize("addresses", [[A, C], [A], [C, B]])
def test_addresses_partly_of_another_server_exist(
    call: Api, method: str, kind: type[Any], addresses: list[str]
) -> None:
    server = call(method, ip_data=[A, B])
    put_down(kind, server, Priority.OFFLINE)

    assert call.fault(method, ip_data=addresses) == EEXIST


def test_a_machine_may_be_head_and_storage_at_once(call: Api) -> None:
    assert call("registerHeadServer", ip_data=[A, B]) == 1
    assert call("registerStorageServer", ip_data=[A, B]) == 1


@each_kind
def test_when_ids_run_out_there_is_no_space(call: Api, method: str, kind: type[Any]) -> None:
    IdSpace.objects.update(next_id=0x7FFFFFFF)

    assert call(method, ip_data=[A, B]) == 0x7FFFFFFF
    assert call.fault(method, ip_data=[C]) == ENOSPC


@each_kind
def test_only_what_is_offline_or_faulty_is_deleted(call: Api, method: str, kind: type[Any]) -> None:
    server = call(method, ip_data=[A, B])
    delete = method.replace("register", "delete")
    member = {_id_name(method): server}

    for priority in (Priority.HIGH, Priority.LOW, Priority.EVACUATE, Priority.HALT):
        put_down(kind, server, priority)
        assert call.fault(delete, **member) == EBUSY
    put_down(kind, server, Priority.FAULTY)
    assert call(delete, **member) == 0
    assert call.fault(delete, **member) == ENOENT


def test_silence_is_counted_from_the_first_unanswered_question(call: Api) -> None:
    call("registerHeadServer", ip_data=[A, B])
    first, later = timezone.now(), timezone.now()

    a, b = Address.objects.order_by("pk").values_list("pk", flat=True)

    servers.record_answers(HeadServer, {a: "timed out", b: "timed out"}, first)
    servers.record_answers(HeadServer, {a: "timed out", b: "refused"}, later)
    assert HeadServer.objects.get().silent_since == first

    servers.record_answers(HeadServer, {a: "", b: "refused"}, later)
    row = HeadServer.objects.get()
    assert (row.silent_since, row.last_answer) == (None, later)
    assert list(row.addresses.order_by("pk").values_list("silent_since", "silence")) == [
        (None, ""),
        (first, "refused"),
    ]


def test_a_server_that_was_not_asked_is_not_silent(call: Api) -> None:
    call("registerHeadServer", ip_data=[A, B])

    servers.record_answers(HeadServer, {}, timezone.now())

    assert HeadServer.objects.get().silent_since is None


def test_a_priority_changes_only_from_what_was_seen(call: Api) -> None:
    call("registerHeadServer", ip_data=[A, B])
    seen, mine = HeadServer.objects.get(), HeadServer.objects.get()

    assert servers.set_priority(mine, Priority.LOW)
    assert mine.priority == Priority.LOW
    assert not servers.set_priority(seen, Priority.OFFLINE)
    assert servers.set_priority(seen, Priority.OFFLINE, was=[Priority.HIGH, Priority.LOW])


def test_who_comes_back_a_moment_later_than_another_exists(call: Api) -> None:
    put_down(HeadServer, call("registerHeadServer", ip_data=[A]), Priority.OFFLINE)
    first, second = HeadServer.objects.get(), HeadServer.objects.get()

    registration._return(first, HeadServer(boot_id="one"), [A])
    with pytest.raises(Exists):
        registration._return(second, HeadServer(boot_id="two"), [A])

    assert HeadServer.objects.get().boot_id == "one"


def test_the_cluster_is_made_once() -> None:
    assert servers.cluster().uuid == servers.cluster().uuid
    assert Cluster.objects.count() == 1


def _id_name(method: str) -> str:
    return "hsvrid" if "Head" in method else "ssvrid"
