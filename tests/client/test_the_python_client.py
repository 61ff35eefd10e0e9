"""The typed client: a method for each method of the API, with its members and results."""

import inspect
import re
from typing import Any, get_type_hints

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.client.test_nouns_and_verbs import conforms
from tests.conftest import AddServer
from tests.contract.api import Api
from vastsky_client.api import Access, Manager, Refused, pages
from vastsky_client.api.resending import Resending, how
from vastsky_site.api import endpoint, signatures

ENOENT, EEXIST = 2, 17


OTHERWISE = {"vastsky.listEvents": "events"}
"""The methods that have another name in Python: version 5 has a listEvents, too."""


def snake(method: str) -> str:
    """The Python name of a method: listLogicalVolumes is list_logical_volumes."""
    if method in OTHERWISE:
        return OTHERWISE[method]
    return re.sub(r"(?<!^)([A-Z])", r"_\1", method.removeprefix("vastsky.")).lower()


@pytest.fixture
def manager(live_server: LiveServer) -> Manager:
    return Manager(Access(managers=(live_server.url,)))


@pytest.fixture
def cluster(add_server: AddServer, call: Api) -> int:
    for number in range(4):
        add_server(site="north", rack=str(number))
    call("registerHeadServer", ip_data=["10.7.0.1"])
    lvolid = int(call("createLogicalVolume", lvolname="db", capacity=5))
    call("createSnapshot", origin_lvolid=lvolid, snapshot_lvolname="db-monday")
    call("vastsky.maintenance", ssvrid=1)
    call("vastsky.createToken", name="watch", role="reader")
    call("vastsky.addWebhook", name="pager", url="http://127.0.0.1:9/", kinds=["failed"])
    return lvolid


@pytest.mark.parametrize("method", endpoint.PROCEDURES)
def test_every_method_is_there_with_its_members_and_defaults(method: str) -> None:
    procedure = endpoint.PROCEDURES[method]
    ours = inspect.signature(getattr(Manager, snake(method))).parameters
    theirs = inspect.signature(procedure).parameters

    assert {name: p.default for name, p in ours.items() if name != "self"} == {
        name: p.default for name, p in theirs.items()
    }
    assert [member.name for member in signatures.members(procedure)] == [*theirs]


@pytest.mark.parametrize(
    ("method", "members"),
    [
        ("list_logical_volumes", {}),
        ("show_logical_volume", {"lvolname": "db"}),
        ("list_head_servers", {}),
        ("list_storage_servers", {}),
        ("list_physical_disks", {}),
        ("list_events", {"all": 1}),
        ("list_jobs", {}),
        ("list_waiting", {}),
        ("list_orphans", {}),
        ("list_unequal_blocks", {}),
        ("list_tokens", {}),
        ("list_webhooks", {}),
        ("cluster_info", {}),
        ("capacity", {}),
        ("samples", {"span": "day"}),
        ("plan_volume", {"capacity": 25}),
        ("plan_failure", {"ssvrid": 1}),
        ("plan_evacuation", {"ssvrid": 1}),
        ("list_methods", {}),
    ],
)
def test_results_are_of_the_declared_types(
    manager: Manager, cluster: int, method: str, members: dict[str, Any]
) -> None:
    ask = getattr(manager, method)

    assert conforms(ask(**members), get_type_hints(ask)["return"])


def test_a_server_is_told_with_the_id_of_its_kind_alone(manager: Manager, cluster: int) -> None:
    head, *storages = manager.list_nodes()

    assert "ssvrid" not in head
    assert [storage["ssvrid"] for storage in storages] == [1, 2, 3, 4]


def test_a_refusal_is_a_fault_that_tells_later_from_never(manager: Manager, cluster: int) -> None:
    with pytest.raises(Refused) as never:
        manager.create_logical_volume(lvolname="db", capacity=5)
    with pytest.raises(Refused, match="there is no volume"):
        manager.show_logical_volume(lvolname="nobody")

    assert (never.value.faultCode, never.value.again_later) == (EEXIST, False)
    assert Refused(11, "").again_later


def test_a_volume_is_led_through_its_life(manager: Manager, cluster: int) -> None:
    made = manager.create_logical_volume(lvolname="new", capacity=5, converge=1)
    assert manager.create_logical_volume(lvolname="new", capacity=5, converge=1) == made

    manager.delete_logical_volume(lvolid=made)
    manager.delete_logical_volume(lvolid=made, converge=1)

    assert [row["lvolname"] for row in manager.list_logical_volumes()] == ["db", "db-monday"]


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_a_long_list_is_read_in_pages(manager: Manager, cluster: int, limit: int) -> None:
    disks = list(pages(manager.list_physical_disks, "pdskid", limit=limit))

    assert disks == manager.list_physical_disks()


def test_servers_of_both_kinds_are_one_list(manager: Manager, cluster: int) -> None:
    assert list(pages(manager.list_nodes, "id", limit=2)) == manager.list_nodes()


def test_what_an_older_manager_sends_at_once_is_read_once() -> None:
    def all_at_once(**_: Any) -> list[dict[str, int]]:
        return [{"lvolid": number} for number in (1, 2, 3)]

    assert [row["lvolid"] for row in pages(all_at_once, "lvolid")] == [1, 2, 3]
    assert len(list(pages(all_at_once, "what it does not tell yet"))) == 3


def test_a_method_that_this_release_does_not_know_is_called_by_its_name(manager: Manager) -> None:
    assert manager.call("listHeadServers") == []
    assert "Return one head server" in manager.method_help("listHeadServers")
    assert manager.method_signature("listHeadServers") == [["array", "struct"]]
    with pytest.raises(Refused) as unknown:
        manager.call("vastsky.fly")
    assert unknown.value.faultCode == -32601


def test_only_what_has_the_member_converges() -> None:
    for method, procedure in endpoint.PROCEDURES.items():
        has = any(member.name == "converge" for member in signatures.members(procedure))
        assert (how(method) is Resending.CONVERGING) == has
