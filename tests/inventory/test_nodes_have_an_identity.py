"""A node is known by who it is: its addresses change, are taken over, and are fought for."""

from datetime import timedelta
from typing import Any
from xmlrpc.client import Fault

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from inventory.models import (
    Address,
    AuditEntry,
    Disk,
    HeadServer,
    Priority,
    RefusedNode,
    StorageServer,
)
from tests.contract.api import SECTORS_PER_GB, Api, put_down
from volumes.reports import problems

EEXIST, EINVAL, ENOENT = 17, 22, 2
A, B, C, D = "10.0.0.1", "10.1.0.1", "10.0.0.2", "10.1.0.2"
KINDS: list[tuple[str, type[Any]]] = [
    ("registerHeadServer", HeadServer),
    ("registerStorageServer", StorageServer),
]
each_kind = pytest.mark.parametrize(("method", "kind"), KINDS)

pytestmark = pytest.mark.django_db


class Node:
    """An agent that says who it is, and remembers which number it got."""

    def __init__(self, call: Api, method: str, uuid: str, *addresses: str) -> None:
        self.call, self.method, self.uuid = call, method, uuid
        self.addresses = list(addresses)
        self.boot = "one"
        self.number = 0

    def members(self) -> dict[str, Any]:
        member = "hsvrid" if "Head" in self.method else "ssvrid"
        return {
            "ip_data": self.addresses,
            "node_uuid": self.uuid,
            "boot_id": self.boot,
            member: self.number,
        }

    def register(self) -> int:
        self.number = int(self.call(self.method, **self.members()))
        return self.number

    def refusal(self) -> str:
        with pytest.raises(Fault) as refused:
            self.register()
        assert refused.value.faultCode == EEXIST
        return str(refused.value.faultString)


def fall_silent(*addresses: str) -> None:
    """Let nobody answer there, as reconcile would note it."""
    Address.objects.filter(address__in=addresses).update(silent_since=timezone.now())


def places(kind: type[Any], server: int) -> list[str]:
    row = kind.objects.get(pk=server)
    return list(row.addresses.order_by("position").values_list("address", flat=True))


@each_kind
def test_a_node_whose_addresses_have_both_changed_is_the_server_that_it_was(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    server = node.register()

    node.addresses = [C, D]
    fall_silent(A, B)

    assert node.register() == server
    assert places(kind, server) == [C, D]
    assert kind.objects.get().priority == Priority.HIGH
    assert AuditEntry.objects.latest("pk").detail == f"moved to {C}, {D}"


@each_kind
def test_a_node_that_keeps_an_address_need_only_have_left_the_other(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    server = node.register()

    node.addresses = [A, D]
    assert B in node.refusal()
    fall_silent(B)

    assert node.register() == server
    assert places(kind, server) == [A, D]


@each_kind
def test_a_copy_is_refused_while_the_first_answers_and_shown_with_what_to_do(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    node.register()
    copy = Node(call, method, "n1", C, D)
    copy.number = node.number

    said = copy.refusal()
    assert "empty state_dir" in said
    assert not _shown()
    RefusedNode.objects.update(since=timezone.now() - timedelta(minutes=1))

    (problem,) = _shown()
    assert problem.cause == f"it is node n1: {said}"
    assert places(kind, node.number) == [A, B]
    assert node.register() == node.number
    copy.uuid, copy.number = "n2", 0
    assert copy.register() != node.number


@each_kind
def test_what_is_refused_no_more_is_shown_no_more(call: Api, method: str, kind: type[Any]) -> None:
    node = Node(call, method, "n1", A, B)
    node.register()
    node.addresses = [C, D]
    node.refusal()
    assert RefusedNode.objects.count() == 1

    fall_silent(A, B)
    node.register()

    assert not RefusedNode.objects.exists()


@each_kind
def test_a_restart_that_nobody_noticed_needs_no_report_of_the_node(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    server = node.register()

    node.boot = "two"

    assert node.register() == server
    row = kind.objects.get()
    assert (row.priority, row.boot_id) == (Priority.HIGH, "two")
    verbs = AuditEntry.objects.order_by("pk").values_list("verb", "detail")
    failed = "fail_head" if kind is HeadServer else "fail_storage"
    assert (failed, "restarted") in list(verbs)


@each_kind
def test_the_same_start_of_a_known_node_fails_nothing(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    node.register()
    before = AuditEntry.objects.count()

    node.register()

    assert AuditEntry.objects.count() == before


@each_kind
def test_an_agent_that_is_upgraded_keeps_its_server_at_its_addresses(
    call: Api, method: str, kind: type[Any]
) -> None:
    server = call(method, ip_data=[A, B], boot_id="one")
    node = Node(call, method, "n1", B, A)

    assert node.register() == server
    assert kind.objects.get().node_uuid == "n1"


@each_kind
def test_an_agent_that_is_upgraded_and_moved_at_once_is_known_by_its_number(
    call: Api, method: str, kind: type[Any]
) -> None:
    server = call(method, ip_data=[A, B], boot_id="one")
    node = Node(call, method, "n1", C, D)
    node.number = server

    assert A in node.refusal()
    fall_silent(A, B)

    assert node.register() == server
    assert (kind.objects.get().node_uuid, places(kind, server)) == ("n1", [C, D])


@each_kind
def test_an_older_agent_goes_on_at_the_addresses_of_its_server(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    server = node.register()

    assert call(method, ip_data=[A, B], boot_id="one") == server
    assert call.fault(method, ip_data=[A, B], boot_id="two") == EEXIST
    fall_silent(A, B)
    assert call.fault(method, ip_data=[A, C], boot_id="one") == EEXIST
    assert kind.objects.get().node_uuid == "n1"


@each_kind
def test_addresses_of_a_server_that_answers_are_nobody_elses(
    call: Api, method: str, kind: type[Any]
) -> None:
    first = Node(call, method, "n1", A, B).register()
    other = Node(call, method, "n2", C, B)

    assert str(kind(pk=first)) in other.refusal()
    assert places(kind, first) == [A, B]
    assert kind.objects.count() == 1


@each_kind
@pytest.mark.parametrize("gone", ["silent", "down", "deleted"])
def test_another_node_at_the_addresses_of_one_that_is_gone_is_another_server(
    call: Api, method: str, kind: type[Any], gone: str
) -> None:
    first = Node(call, method, "n1", A, B).register()
    if gone == "silent":
        fall_silent(A, B)
    else:
        put_down(kind, first, Priority.OFFLINE)
    if gone == "deleted":
        member = "hsvrid" if kind is HeadServer else "ssvrid"
        call(method.replace("register", "delete"), **{member: first})

    second = Node(call, method, "n2", A, B).register()

    assert second != first
    assert places(kind, second) == [A, B]
    assert gone == "deleted" or places(kind, first) == []


@each_kind
def test_two_nodes_that_have_changed_places_are_told_apart(
    call: Api, method: str, kind: type[Any]
) -> None:
    one, two = Node(call, method, "n1", A, B), Node(call, method, "n2", C, D)
    numbers = one.register(), two.register()
    one.addresses, two.addresses = two.addresses, one.addresses
    fall_silent(A, B, C, D)

    assert (one.register(), two.register()) == numbers
    assert [places(kind, number) for number in numbers] == [[C, D], [A, B]]


@each_kind
def test_a_server_whose_addresses_were_taken_is_back_at_others(
    call: Api, method: str, kind: type[Any]
) -> None:
    one = Node(call, method, "n1", A, B)
    server = one.register()
    fall_silent(A, B)
    Node(call, method, "n2", A, B).register()

    assert "is the address of" in one.refusal()
    one.addresses = [C, D]

    assert one.register() == server
    assert places(kind, server) == [C, D]


def test_disks_follow_a_node_that_lost_its_state_folder(call: Api) -> None:
    node = Node(call, "registerStorageServer", "n1", A, B)
    server = node.register()
    about = {"local_path": "/d", "disk_uuid": "one", "capacity": str(10 * SECTORS_PER_GB)}
    disk = call("registerPhysicalDisk", ssvrid=server, **about)
    fall_silent(A, B)
    put_down(StorageServer, server, Priority.OFFLINE)

    node.uuid, node.number = "n2", 0
    again = node.register()

    assert again != server
    assert call("registerPhysicalDisk", ssvrid=again, **about) == disk
    assert Disk.objects.get().server_id == again


@each_kind
def test_an_operator_lets_a_node_without_its_state_folder_be_what_it_was(
    call: Api, method: str, kind: type[Any]
) -> None:
    node = Node(call, method, "n1", A, B)
    server = node.register()
    member = "hsvrid" if kind is HeadServer else "ssvrid"
    node.uuid, node.number = "n2", 0
    node.refusal()

    call("vastsky.forgetNode", **{member: server})

    assert node.register() == server
    assert kind.objects.get().node_uuid == "n2"


@each_kind
def test_an_operator_says_where_an_older_agent_is_now(
    call: Api, method: str, kind: type[Any]
) -> None:
    server = call(method, ip_data=[A, B], boot_id="one")
    member = "hsvrid" if kind is HeadServer else "ssvrid"

    assert call("vastsky.moveServer", ip_data=[C, D], **{member: server}) == 0

    assert places(kind, server) == [C, D]
    assert call(method, ip_data=[C, D], boot_id="one") == server
    other = call(method, ip_data=[A, B])
    assert call.fault("vastsky.moveServer", ip_data=[C], **{member: other}) == EEXIST
    assert call.fault("vastsky.moveServer", ip_data=[B], **{member: 99}) == ENOENT
    assert call.fault("vastsky.moveServer", ip_data=[B]) == EINVAL
    assert call.fault("vastsky.forgetNode", hsvrid=1, ssvrid=1) == EINVAL


@pytest.mark.parametrize("kind", [HeadServer, StorageServer])
def test_no_two_servers_are_one_node(kind: type[Any]) -> None:
    kind.objects.create(pk=1, node_uuid="")
    kind.objects.create(pk=2, node_uuid="")
    kind.objects.create(pk=3, node_uuid="n1")

    with pytest.raises(IntegrityError), transaction.atomic():
        kind.objects.create(pk=4, node_uuid="n1")


def _shown() -> list[problems.Problem]:
    return [one for one in problems.find() if "may not register" in one.title]
