"""A server that the database has forgotten comes back with the number that its node remembers."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inventory import recovery, servers
from inventory.models import HeadServer, Priority, StorageServer
from tests.contract.api import Api, put_down
from tests.jobs.conftest import Cluster as Simulated
from volumes.integrity import backup

KINDS: list[tuple[str, str, type[Any]]] = [
    ("registerHeadServer", "hsvrid", HeadServer),
    ("registerStorageServer", "ssvrid", StorageServer),
]
each_kind = pytest.mark.parametrize(("method", "member", "kind"), KINDS)

pytestmark = pytest.mark.django_db


def register(call: Api, method: str, place: int, **told: Any) -> int:
    about = {"node_uuid": f"node-{place}", "boot_id": "one"}
    return int(call(method, ip_data=[f"10.0.0.{place}", f"10.1.0.{place}"], **about, **told))


@each_kind
def test_a_server_that_is_newer_than_the_dump_keeps_its_number(
    call: Api, tmp_path: Path, method: str, member: str, kind: type[Any]
) -> None:
    servers.cluster()
    register(call, method, 1)
    backup.write(tmp_path / "dump")
    numbers = [register(call, method, place) for place in (2, 3, 4)]
    backup.restore(tmp_path / "dump")

    back = [register(call, method, place, **{member: place}) for place in (4, 2, 3)]

    assert sorted(back) == numbers == [2, 3, 4]
    assert register(call, method, 5) == 5
    call_command("fsck")


@each_kind
def test_a_number_that_was_never_given_out_here_begins_recovery_mode(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    servers.cluster()

    assert register(call, method, 1, **{member: 7}) == 7

    assert f"{kind(pk=7)} registered, which is newer" in recovery.why()
    assert call("vastsky.clusterInfo")["recovery"] == recovery.why()
    assert register(call, method, 2) == 8


@each_kind
def test_the_number_of_a_server_that_was_deleted_never_comes_again(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    servers.cluster()
    server = register(call, method, 1)
    put_down(kind, server, Priority.OFFLINE)
    call(method.replace("register", "delete"), **{member: server})

    assert register(call, method, 1, **{member: server}) == server + 1
    assert not recovery.why()


@each_kind
def test_a_number_that_another_node_has_is_not_given_away(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    servers.cluster()
    server = register(call, method, 1)

    assert register(call, method, 2, **{member: server}) != server
    assert kind.objects.get(pk=server).node_uuid == "node-1"


@each_kind
def test_a_number_far_beyond_all_is_nonsense(
    call: Api, method: str, member: str, kind: type[Any]
) -> None:
    servers.cluster()

    assert register(call, method, 1, **{member: 0x7FFFFFFF}) == 1
    assert not recovery.why()


@pytest.fixture
def empty(db: None, tmp_path: Path) -> Path:
    """A backup of a database that knew nothing yet."""
    servers.cluster()
    backup.write(tmp_path / "empty")
    return tmp_path / "empty"


def _forget_all_but_nodes(four: Simulated, empty: Path) -> list[str]:
    """Let the database be as it was before its nodes came; where these are."""
    cluster = str(servers.cluster().uuid)
    nodes: list[Any] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.cluster, node.node_uuid = cluster, f"node-{node.address}"
    backup.restore(empty)
    return [node.address for node in nodes]


def test_an_empty_database_knows_its_nodes_at_other_addresses(empty: Path, four: Simulated) -> None:
    where = _forget_all_but_nodes(four, empty)
    call_command("recover", "--from-nodes", *where, stdout=StringIO())
    node = next(iter(four.world.storages.values()))
    assert StorageServer.objects.get(pk=node.server_id).node_uuid == node.node_uuid
    node.move("127.24.0.1")
    four.reconcile()

    about = {"node_uuid": node.node_uuid, "boot_id": "boot"}
    back = four.call("registerStorageServer", ip_data=[node.address], **about)

    assert back == node.server_id


def test_a_node_and_its_copy_are_not_both_learned(empty: Path, four: Simulated) -> None:
    where = _forget_all_but_nodes(four, empty)
    one, two, *_ = four.world.storages.values()
    two.node_uuid = one.node_uuid

    with pytest.raises(CommandError, match=f"{one.address} and at {two.address} are both"):
        call_command("recover", "--from-nodes", *where)

    assert not StorageServer.objects.exists()
