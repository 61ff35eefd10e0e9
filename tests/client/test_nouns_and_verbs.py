"""What `vastsky` does: names before ids, tables for people, JSON of a form that stays."""

import json
import re
import xmlrpc.client
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from inventory.models import Disk, HeadServer, Priority, StorageServer
from tests.client.conftest import Impostor, Run, run_vastsky
from tests.conftest import AddServer
from tests.contract.api import Api, add_disk, put_down
from vastsky_client.api import Access, Manager
from vastsky_client.command.nouns import COMMANDS
from vastsky_client.command.server_names import Names
from vastsky_site.api import endpoint
from volumes.models import Attachment, LogicalVolume

Told = Callable[..., Any]


@pytest.fixture
def cluster(add_server: AddServer, call: Api) -> int:
    """Three storage servers and a head with names, and a volume db with a snapshot; its id."""
    for number in range(3):
        add_server(node_uuid=f"s{number}", host_name=f"store-{number}", site="north")
    call("registerHeadServer", ip_data=["10.7.0.1"], node_uuid="h", host_name="head-1")
    lvolid = int(call("createLogicalVolume", lvolname="db", capacity=5))
    call("createSnapshot", origin_lvolid=lvolid, snapshot_lvolname="db-monday")
    return lvolid


def bind(lvolid: int) -> None:
    """What an attach leaves behind."""
    Attachment.objects.create(
        volume=LogicalVolume.objects.get(pk=lvolid),
        head=HeadServer.objects.get(),
        state=Attachment.State.BOUND,
    )


def conforms(value: Any, kind: Any) -> bool:
    """Tell whether a value is of the type that the table declares: no member more or less."""
    if get_origin(kind) is list:
        return isinstance(value, list) and all(conforms(one, get_args(kind)[0]) for one in value)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return set(value) == set(hints) and all(conforms(value[k], hints[k]) for k in hints)
    if kind is None:
        return value is None
    return isinstance(value, get_origin(kind) or kind)


def lines(run: Run, *words: str) -> list[str]:
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


# -- names before ids -----------------------------------------------------------------------------


def test_lists_name_what_they_list_and_write_ids_beside(vastsky: Run, cluster: int) -> None:
    bind(cluster)

    head, db, snapshot = lines(vastsky, "volume", "list")

    assert re.split("  +", head) == [
        "NAME", "ID", "CAPACITY", "REPLICAS", "HEAD", "DEGRADED", "CREATED",
    ]  # fmt: skip
    assert re.split("  +", db)[:6] == ["db", f"lvol-{cluster:08x}", "5 GiB", "3", "head-1", "-"]
    assert snapshot.startswith("db-monday ")


def test_servers_and_disks_are_listed_by_their_names(vastsky: Run, cluster: int) -> None:
    servers = lines(vastsky, "server", "list")
    assert [line.split()[0] for line in servers[1:]] == ["head-1", "store-0", "store-1", "store-2"]
    assert len(lines(vastsky, "server", "list", "--kind", "head")) == 2

    (_, disk) = lines(vastsky, "disk", "list", "store-1")

    assert disk.split()[:2] == ["store-1", "/dev/disk/by-id/2-0"]


def test_a_tree_names_the_servers_of_its_replicas(vastsky: Run, cluster: int) -> None:
    title, stretch, *replicas, snapshot = lines(vastsky, "volume", "show", "db")

    assert title == f"db (lvol-{cluster:08x}), 5 GiB in 3 replicas"
    assert stretch == "  0 to 5 GiB"
    assert sorted(line.split()[0] for line in replicas) == ["store-0", "store-1", "store-2"]
    assert replicas[0].endswith("  ALLOCATED")
    assert snapshot.startswith("  has the snapshot db-monday (lvol-")
    assert lines(vastsky, "volume", "show", "db-monday")[-1].startswith("  snapshot of db (lvol-")


def test_jobs_tell_names_in_place_of_ids(vastsky: Run, told: Told, cluster: int) -> None:
    told("maintenance", "start", "store-1")
    told("scrub", "start", "db")

    (_, maintenance, scrub) = lines(vastsky, "job", "list")

    assert re.split("  +", maintenance.strip())[1:3] == ["maintenance", "store-1"]
    assert re.search("  mirr-[0-9a-f]{8} of db  ", scrub)


@pytest.mark.parametrize("word", ["store-1", "ssvr-00000002", "ssvr-2", "00000002"])
def test_a_storage_server_is_meant_by_name_or_id(told: Told, cluster: int, word: str) -> None:
    assert [disk["ssvrid"] for disk in told("disk", "list", word)] == [2]


@pytest.mark.parametrize(
    "word", ["/dev/disk/by-id/2-0", "store-1:/dev/disk/by-id/2-0", "pdsk-00000002"]
)
def test_a_disk_is_meant_by_path_or_id(told: Told, cluster: int, word: str) -> None:
    told("disk", "fail", word, "--reason", "smoke")

    assert Disk.objects.get(priority=Priority.FAULTY).pk == 2


def test_a_path_may_have_colons_itself(told: Told, cluster: int, call: Api) -> None:
    path = "/dev/disk/by-path/pci-0000:00:17.0-ata-2"
    pdskid = add_disk(call, 1, path)
    told("disk", "fail", f"store-0:{path}")

    assert Disk.objects.get(priority=Priority.FAULTY).pk == pdskid


def test_a_name_of_a_head_and_a_storage_server_is_refused_until_told_which(
    vastsky: Run, told: Told, cluster: int, call: Api
) -> None:
    call("registerHeadServer", ip_data=["10.7.0.9"], node_uuid="both", host_name="store-1")

    done = vastsky("server", "rename", "store-1", "blue")
    assert done.returncode == 2
    assert done.stderr == ("vastsky: store-1 may be hsvr-00000002 or ssvr-00000002: say which\n")

    told("server", "rename", "store-1", "blue", "--kind", "storage")
    assert StorageServer.objects.get(name="blue").pk == 2


def test_a_rename_shows_at_once_and_is_taken_back_by_no_name(told: Told, cluster: int) -> None:
    told("server", "rename", "store-1", "blue")
    assert [row["name"] for row in told("server", "list", "--kind", "storage")][1] == "blue"

    told("server", "rename", "blue", "")

    assert [row["name"] for row in told("server", "list", "--kind", "storage")][1] == "store-1"


def test_the_snapshots_of_one_volume_can_be_listed(told: Told, cluster: int, call: Api) -> None:
    call("createLogicalVolume", lvolname="other", capacity=1)
    assert [row["lvolname"] for row in told("snapshot", "list")] == ["db-monday"]
    assert told("snapshot", "list", "other") == []


# -- what is changed ------------------------------------------------------------------------------


def test_a_volume_is_created_shown_and_deleted(vastsky: Run, told: Told, cluster: int) -> None:
    (lvolid,) = lines(vastsky, "volume", "create", "new", "12", "--redundancy", "2")
    assert told("volume", "list", "new")[0]["redundancy"] == 2
    assert lines(vastsky, "volume", "show", lvolid)[0] == f"new ({lvolid}), 12 GiB in 2 replicas"

    assert lines(vastsky, "volume", "delete", "new") == []

    assert vastsky("volume", "list", "new").returncode == 3


def test_care_of_a_place_is_begun_listed_and_ended_by_the_places_name(
    told: Told, cluster: int
) -> None:
    assert told("maintenance", "start", "store-1", "--minutes", "5")["ssvrname"] == "store-1"
    assert [job["ssvrid"] for job in told("maintenance", "list")] == [2]
    told("maintenance", "stop", "store-1")
    assert told("maintenance", "list") == []

    told("evacuation", "start", "store-1")
    told("evacuation", "pause", "store-1")
    assert [job["paused"] for job in told("evacuation", "list")] == [True]
    told("evacuation", "resume", "store-1")
    told("evacuation", "stop", "store-1")
    assert told("evacuation", "list") == []


def test_what_is_down_is_deleted_by_name(told: Told, cluster: int) -> None:
    put_down(HeadServer, 1, Priority.OFFLINE)

    told("server", "delete", "head-1")

    assert not HeadServer.objects.exists()


def test_any_method_may_be_called_by_its_name(told: Told, cluster: int) -> None:
    assert told("cluster", "call", "vastsky.planEvacuation", "ssvrid:=1")["copies"] == 2
    assert told("cluster", "call", "listLogicalVolumes", "lvolname=db")[0]["lvolid"] == cluster
    assert told("cluster", "call", "notifyBadBlocks", "pdskid:=1", "blocks:=1,2") == 0


def test_a_plan_changes_nothing_and_tells_why_not(vastsky: Run, told: Told, cluster: int) -> None:
    assert len(told("plan", "volume", "25")["mirrors"]) == 3
    assert len(told("volume", "list")) == 2

    done = vastsky("plan", "volume", "1000")
    assert done.returncode == 10
    assert "no room for 1000 GiB in 3 replicas" in done.stderr


def test_what_if_a_server_dies_is_told_in_words(vastsky: Run, cluster: int) -> None:
    bind(cluster)

    text = "\n".join(lines(vastsky, "plan", "failure", "head-1"))
    assert re.search("CUT OFF +db\n", text)

    text = "\n".join(lines(vastsky, "plan", "failure", "store-1"))
    assert re.search("LOST FOR EVER +-\n", text)
    assert "no room for 6 GiB" in text

    StorageServer.objects.update(site="hall")
    assert re.search("LOST FOR EVER +(?!-)", vastsky("plan", "failure", "--site", "hall").stdout)
    assert (
        "no storage server is in rack no of hall"
        in vastsky("plan", "failure", "--site", "hall", "--rack", "no").stderr
    )
    assert "is wanted" in vastsky("plan", "failure").stderr


# -- --json ---------------------------------------------------------------------------------------

SHOWN: dict[tuple[str, str], tuple[str, ...]] = {
    ("volume", "list"): (),
    ("volume", "show"): ("db",),
    ("volume", "create"): ("new", "1"),
    ("volume", "detach"): ("db",),
    ("volume", "waiting"): (),
    ("snapshot", "list"): (),
    ("snapshot", "create"): ("db", "db-tuesday"),
    ("snapshot", "delete"): ("db-monday",),
    ("server", "list"): (),
    ("server", "rename"): ("store-1", "blue"),
    ("disk", "list"): (),
    ("job", "list"): (),
    ("job", "show"): ("5",),
    ("job", "history"): (),
    ("plan", "volume"): ("10",),
    ("plan", "failure"): ("store-1",),
    ("plan", "evacuation"): ("store-1",),
    ("plan", "capacity"): (),
    ("evacuation", "start"): ("store-2",),
    ("evacuation", "list"): (),
    ("evacuation", "undo"): ("store-2",),
    ("maintenance", "start"): ("store-2",),
    ("maintenance", "list"): (),
    ("scrub", "start"): ("db",),
    ("scrub", "list"): (),
    ("scrub", "pause"): (),
    ("scrub", "resume"): (),
    ("scrub", "differences"): (),
    ("token", "list"): (),
    ("token", "create"): ("watch", "reader"),
    ("webhook", "list"): (),
    ("webhook", "add"): ("log", "https://log.example/", "--kind", "degraded"),
    ("backup", "show"): (),
    ("cluster", "show"): (),
    ("cluster", "orphans"): (),
    ("cluster", "resume"): (),
    ("completion", "bash"): (),
}


@pytest.fixture
def busy(cluster: int, add_server: AddServer, call: Api) -> None:
    """There is something to be shown of each kind."""
    add_server()
    call("vastsky.maintenance", ssvrid=1)
    call("vastsky.createToken", name="there", role="reader")
    call("vastsky.addWebhook", name="pager", url="http://127.0.0.1:9/")
    call("vastsky.scrubVolume", lvolname="db-monday")


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(("noun", "verb"), SHOWN)
def test_json_is_of_the_form_that_the_docs_tell(told: Told, noun: str, verb: str) -> None:

    answer = told(noun, verb, *SHOWN[noun, verb])

    assert conforms(answer, COMMANDS[noun, verb].returns)


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(("noun", "verb"), SHOWN)
def test_every_answer_can_be_shown_to_people(vastsky: Run, noun: str, verb: str) -> None:
    done = vastsky(noun, verb, *SHOWN[noun, verb])

    assert (done.returncode, done.stderr) == (0, "")


def test_a_refusal_names_what_it_is_about(vastsky: Run, cluster: int) -> None:
    bind(cluster)
    put_down(HeadServer, 1, Priority.OFFLINE)

    deleted = vastsky("volume", "delete", "db")
    attached = vastsky("volume", "attach", "db", "head-1")

    assert deleted.stderr == "vastsky: db has 1 snapshots (EBUSY)\n"
    assert attached.stderr == "vastsky: head server head-1 (hsvr-00000001) is Offline (EINVAL)\n"


def test_a_name_that_is_told_with_its_id_is_told_once() -> None:
    names = Names(Manager(Access()))
    names.__dict__["_nodes"] = [{"hsvrid": 1, "name": "head-1"}]

    assert names.instead_of_ids("head-1 (hsvr-00000001) or hsvr-00000001") == (
        "head-1 (hsvr-00000001) or head-1"
    )
    assert names.instead_of_ids("lvol-00000007 db from hsvr-00000002") == "db from hsvr-00000002"


def test_events_are_chosen_and_shown_with_their_causes(impostor: Impostor) -> None:
    event = {
        "id": "7", "time": "2026-11-28T06:00:00.000000Z", "severity": "warning",
        "kind": "degraded", "object": "volume", "objectid": 17, "name": "db",
        "cause": "of lvol-00000007 db", "eventid": 0, "actor": "system", "audit": "",
    }  # fmt: skip
    page = {"events": [event], "cursor": ""}
    impostor.body = xmlrpc.client.dumps((page,), methodresponse=True).encode()
    words = ("event", "list", "--volume", "lvol-11", "--severity", "warning", "--limit", "5")

    shown = run_vastsky(*words, managers=impostor.url).stdout.splitlines()
    told = json.loads(run_vastsky(*words, "--json", managers=impostor.url).stdout)

    assert re.split("  +", shown[1]) == [
        "2026-11-28T06:00:00", "warning", "degraded", "db", "of db", "-", "system",
    ]  # fmt: skip
    assert told == [{**event, "about": "of db"}]
    asked: Any = xmlrpc.client.loads(impostor.bodies[0])[0][0]
    assert (asked["lvolid"], asked["severity"], asked["limit"]) == (17, "warning", 5)


@pytest.mark.parametrize("option", ["--kind", "--event-kind"])
def test_the_kind_of_an_event_is_chosen_by_its_new_and_its_old_option(
    impostor: Impostor, vastsky: Run, told: Told, option: str
) -> None:
    page = {"events": [], "cursor": ""}
    impostor.body = xmlrpc.client.dumps((page,), methodresponse=True).encode()
    which = ("--place", "ssvr-7", "--server-kind", "storage")
    run_vastsky("event", "list", *which, option, "offline", managers=impostor.url)
    run_vastsky("event", "list", *which[:2], "--kind", "storage", managers=impostor.url)

    asked: list[Any] = [xmlrpc.client.loads(body)[0][0] for body in impostor.bodies]
    _, chosen, _, every = asked  # the names of servers are asked for before
    assert (chosen["ssvrid"], chosen["kind"]) == (7, "offline")
    assert (every["ssvrid"], every["kind"]) == (7, "")

    told("webhook", "add", "log", "https://log.example/", "--kind", "healed", option, "offline")

    assert told("webhook", "list")[0]["kinds"] == ["healed", "offline"]
    assert "--event-kind" not in vastsky("webhook", "add", "--help").stdout


def test_a_manager_that_keeps_no_events_is_told_in_a_sentence(impostor: Impostor) -> None:
    fault = xmlrpc.client.Fault(-32601, "there is no vastsky.listEvents")
    impostor.body = xmlrpc.client.dumps(fault, methodresponse=True).encode()

    done = run_vastsky("event", "list", managers=impostor.url)

    assert done.returncode == 1
    assert done.stderr == (
        "vastsky: the manager is too old for this: there is no vastsky.listEvents\n"
    )


def test_an_older_manager_does_what_it_can(
    vastsky: Run, told: Told, cluster: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("showJob", "listNodes", "capacity"):
        monkeypatch.delitem(endpoint.server.procedures, f"vastsky.{method}")

    assert told("maintenance", "start", "ssvr-00000001")["state"] == "open"
    assert [row["ssvrname"] for row in told("disk", "list")] == ["", "", ""]
    done = vastsky("plan", "capacity")
    assert done.returncode == 1
    assert done.stderr.startswith("vastsky: the manager is too old for this: ")


def test_the_commands_reach_every_method_of_the_api() -> None:
    called = {method for command in COMMANDS.values() for method in command.methods}

    assert set(endpoint.PROCEDURES) - called == set()
