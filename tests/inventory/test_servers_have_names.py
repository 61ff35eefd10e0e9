"""Servers are called as their hosts are, or as an operator says; what runs there is known."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from agents.version import VERSION
from inventory.models import AuditEntry, HeadServer, StorageServer
from tests.contract.api import Api

EEXIST, EINVAL, ENOENT = 17, 22, 2
each_kind = pytest.mark.parametrize(
    ("method", "member", "kind"),
    [
        ("registerHeadServer", "hsvrid", HeadServer),
        ("registerStorageServer", "ssvrid", StorageServer),
    ],
)
A, B = "10.0.0.1", "10.0.0.2"

pytestmark = pytest.mark.django_db


def listed(call: Api, member: str) -> list[tuple[str, str, str]]:
    rows = [row for row in call("vastsky.listNodes") if member in row]
    return [(row["name"], row["host_name"], row["version"]) for row in rows]


@each_kind
def test_a_node_is_called_as_its_host_and_tells_its_release(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    call(method, ip_data=[A], node_uuid="n1", host_name="north-1", version="5.1.0")

    assert listed(call, member) == [("north-1", "north-1", "5.1.0")]
    assert kind.objects.get().label == f"north-1 ({member[0]}svr-00000001)"


@each_kind
def test_an_older_agent_tells_neither(call: Api, method: str, member: str, kind: type[Any]) -> None:
    call(method, ip_data=[A], boot_id="one")

    assert listed(call, member) == [("", "", "")]
    assert kind.objects.get().label == f"{member[0]}svr-00000001"


@each_kind
def test_an_agent_that_is_upgraded_or_goes_back_tells_what_runs_now(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    server = call(method, ip_data=[A], boot_id="one")
    about = {"ip_data": [A], "node_uuid": "n1", member: server, "boot_id": "one"}

    call(method, **about, host_name="north-1", version="5.1.0")
    assert listed(call, member) == [("north-1", "north-1", "5.1.0")]

    call(method, ip_data=[A], boot_id="one")
    assert listed(call, member) == [("north-1", "north-1", "")]


@each_kind
def test_a_host_name_that_another_server_has_or_that_is_none_names_nobody(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    call(method, ip_data=[A], node_uuid="n1", host_name="debian")
    call(method, ip_data=[B], node_uuid="n2", host_name="debian")
    call(method, ip_data=["10.0.0.3"], node_uuid="n3", host_name="<b>")
    call(method, ip_data=["10.0.0.4"], node_uuid="n4", host_name="ssvr-00000001")

    assert [name for name, _, _ in listed(call, member)] == ["debian", "", "", ""]


@each_kind
def test_an_operators_name_stays_through_registrations(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    about = {"ip_data": [A], "node_uuid": "n1", "boot_id": "one"}
    server = call(method, **about, host_name="debian")

    assert call("vastsky.renameServer", name="north-1", **{member: server}) == 0
    call(method, **about, host_name="other")

    assert listed(call, member) == [("north-1", "other", "")]
    assert AuditEntry.objects.get(verb="rename_server").detail == "from debian to north-1"
    call("vastsky.renameServer", name="", **{member: server})
    assert listed(call, member) == [("other", "other", "")]


@each_kind
def test_a_name_that_is_taken_or_none_is_refused(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    call(method, ip_data=[A], node_uuid="n1", host_name="north-1")
    other = {member: call(method, ip_data=[B], node_uuid="n2")}

    assert call.fault("vastsky.renameServer", name="north-1", **other) == EEXIST
    for wrong in ("-x", "a b", "hsvr-1", "SSVR-0000000a", "n\n"):
        assert call.fault("vastsky.renameServer", name=wrong, **other) == EINVAL, wrong
    assert call.fault("vastsky.renameServer", name="x", **{member: 99}) == ENOENT
    assert call.fault("vastsky.renameServer", name="x") == EINVAL
    assert not AuditEntry.objects.filter(verb="rename_server").exists()


@pytest.mark.parametrize("kind", [HeadServer, StorageServer])
def test_no_two_servers_of_a_kind_have_one_name(kind: type[Any]) -> None:
    kind.objects.create(pk=1)
    kind.objects.create(pk=2)
    kind.objects.create(pk=3, name="north-1")

    with pytest.raises(IntegrityError), transaction.atomic():
        kind.objects.create(pk=4, name="north-1")


def test_a_cluster_of_several_releases_says_so(call: Api) -> None:
    call("registerHeadServer", ip_data=[A], version="5.1.0")
    call("registerStorageServer", ip_data=[A], version="5.1.0")
    call("registerStorageServer", ip_data=[B])

    told = call("vastsky.clusterInfo")

    assert told["version"] == VERSION
    assert told["agents"] == [{"version": "", "count": 1}, {"version": "5.1.0", "count": 2}]
