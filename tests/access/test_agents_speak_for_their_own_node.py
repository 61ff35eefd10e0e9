"""An agent's token: bound to its servers, and only those does it register and report for."""

from typing import Any

import pytest
from django.utils import timezone

from inventory.models import (
    Address,
    AuditEntry,
    Disk,
    Extent,
    HeadServer,
    RefusedNode,
    StorageServer,
)
from tests.access.conftest import FAR, MakeToken, basic, outcome, post
from tests.contract.api import Api, add_disk, zero_everything
from vastsky_site.access import tokens
from vastsky_site.models import ApiToken
from volumes.models import Attachment, LogicalVolume, Replica

EEXIST, EACCES = 17, 13
HSVR, SSVR, PDSK, LVOL = 1, 2, 3, 4


class Agent:
    """A node's program, with its token."""

    def __init__(self, name: str, text: str) -> None:
        self.headers = {"REMOTE_ADDR": FAR, "HTTP_AUTHORIZATION": basic(name, text)}

    def __call__(self, method: str, **struct: Any) -> int:
        return outcome(post(method, {"ver": 5, **struct}, **self.headers))


@pytest.fixture
def agent(make_token: MakeToken) -> Agent:
    return Agent("node-1", make_token("node-1", "agent"))


@pytest.fixture
def disks(call: Api, agent: Agent) -> list[int]:
    """Disks of two storage servers: the agent's own, and another's."""
    agent("registerStorageServer", ip_data=["10.1.0.1"])
    other = call("registerStorageServer", ip_data=["10.1.0.2"])
    own = ApiToken.objects.get().storage or 0
    found = [add_disk(call, own, "/dev/own"), add_disk(call, other, "/dev/other")]
    zero_everything()
    return found


@pytest.fixture
def volume(call: Api, disks: list[int]) -> LogicalVolume:
    lvolid = call("createLogicalVolume", lvolname="data", capacity=3, redundancy=2)
    return LogicalVolume.objects.get(pk=lvolid)


def test_the_first_server_a_token_registers_is_the_one_it_speaks_for(agent: Agent) -> None:
    assert agent("registerStorageServer", ip_data=["10.1.0.1"]) == 0
    assert agent("registerHeadServer", ip_data=["10.1.0.1"]) == 0
    assert agent("registerStorageServer", ip_data=["10.1.0.2"]) == EACCES
    assert agent("registerHeadServer", ip_data=["10.1.0.2"]) == EACCES

    row = ApiToken.objects.get()
    assert (row.head, row.storage) == (HeadServer.objects.get().pk, StorageServer.objects.get().pk)
    written = AuditEntry.objects.filter(actor="node-1").order_by("pk").values_list("way", "verb")
    assert list(written) == [
        ("node", "register_storage"),
        ("node", "bind_token"),
        ("node", "register_head"),
        ("node", "bind_token"),
    ]


def test_a_second_token_cannot_take_a_server_over(agent: Agent, make_token: MakeToken) -> None:
    agent("registerStorageServer", ip_data=["10.1.0.1"], boot_id="b")
    thief = Agent("node-2", make_token("node-2", "agent"))

    assert thief("registerStorageServer", ip_data=["10.1.0.1"], boot_id="b") == EACCES
    tokens.revoke_token("node-1")
    assert thief("registerStorageServer", ip_data=["10.1.0.1"], boot_id="b") == 0


def test_a_server_that_was_there_before_its_token_is_taken_over_even_if_it_is_up(
    call: Api, agent: Agent
) -> None:
    number = call("registerStorageServer", ip_data=["10.1.0.1"], boot_id="old")

    assert agent("registerStorageServer", ip_data=["10.1.0.1"], boot_id="new") == EEXIST
    told = {"target": SSVR, "targetid": number, "reason": "restarted"}
    assert agent("notifyFailure", **told) == 0
    assert agent("registerStorageServer", ip_data=["10.1.0.1"], boot_id="new") == 0


def test_a_token_bound_beforehand_registers_nothing_else(call: Api, make_token: MakeToken) -> None:
    number = call("registerHeadServer", ip_data=["10.1.0.1"], boot_id="b")
    agent = Agent("bound", make_token("bound", "agent", head=number))

    assert agent("registerHeadServer", ip_data=["10.1.0.9"]) == EACCES
    assert agent("registerHeadServer", ip_data=["10.1.0.1"], boot_id="b") == 0


def test_a_refused_registration_leaves_nothing_behind(agent: Agent) -> None:
    agent("registerStorageServer", ip_data=["10.1.0.1"])

    agent("registerStorageServer", ip_data=["10.1.0.2"])

    assert StorageServer.objects.count() == 1


def test_an_agent_that_registered_nothing_reports_nothing(call: Api, agent: Agent) -> None:
    number = call("registerStorageServer", ip_data=["10.1.0.2"])

    assert agent("notifyFailure", target=SSVR, targetid=number) == EACCES
    assert agent("notifyFailure", target=HSVR, targetid=0) == 0


def test_an_agent_registers_disks_of_its_own_server_only(agent: Agent, disks: list[int]) -> None:
    own, other = (Disk.objects.get(pk=disk).server_id for disk in disks)
    about = {"local_path": "/dev/new", "capacity": str(9 << 21)}

    assert agent("registerPhysicalDisk", ssvrid=other, **about) == EACCES
    assert agent("registerPhysicalDisk", ssvrid=own, **about) == 0


def test_an_agent_lists_everything_or_its_own(agent: Agent, disks: list[int]) -> None:
    own, other = (Disk.objects.get(pk=disk).server_id for disk in disks)
    for method in ("listStorageServers", "listPhysicalDisks"):
        assert agent(method) == agent(method, ssvrid=own) == 0
        assert agent(method, ssvrid=other) == EACCES
    assert agent("listHeadServers") == 0
    assert agent("listHeadServers", hsvrid=other) == EACCES


def test_an_agent_reports_bad_blocks_of_its_own_disks_only(agent: Agent, disks: list[int]) -> None:
    own, other = disks

    assert agent("notifyBadBlocks", pdskid=other, blocks=[9]) == EACCES
    assert agent("notifyBadBlocks", pdskid=own, blocks=[9]) == 0


@pytest.mark.parametrize("target", [HSVR, SSVR, PDSK, LVOL, 5])
def test_an_agent_reports_no_failure_of_another(
    agent: Agent, disks: list[int], volume: LogicalVolume, target: int
) -> None:
    other = disks[1]
    ids = {
        SSVR: Disk.objects.get(pk=other).server_id,
        PDSK: other,
        LVOL: Extent.objects.get(disk=other, replica__isnull=False).pk,
    }

    assert agent("notifyFailure", target=target, targetid=ids.get(target, 77)) == EACCES


def test_an_agent_reports_failures_of_its_own(
    agent: Agent, disks: list[int], volume: LogicalVolume
) -> None:
    own = disks[0]
    replica = Extent.objects.get(disk=own, replica__isnull=False).pk
    server = Disk.objects.get(pk=own).server_id

    for target, number in ((LVOL, replica), (PDSK, own), (SSVR, server)):
        assert agent("notifyFailure", target=target, targetid=number) == 0


def test_a_head_reports_replicas_of_what_is_attached_to_it(
    agent: Agent, volume: LogicalVolume
) -> None:
    agent("registerHeadServer", ip_data=["10.1.0.1"])
    replicas = list(Replica.objects.filter(mirror__volume=volume).values_list("pk", flat=True))
    finished = {
        "mirrorid": Replica.objects.get(pk=replicas[1]).mirror_id,
        "dexts": [{"dextid": replica, "dext_status": 2} for replica in replicas],
    }
    assert agent("notifyRebuildMirrorFinished", **finished) == EACCES

    Attachment.objects.create(volume=volume, head=HeadServer.objects.get())

    assert agent("notifyRebuildMirrorFinished", **finished) == 0
    for replica in replicas:
        assert agent("notifyFailure", target=LVOL, targetid=replica) == 0


def test_an_agent_ends_no_shred_of_another(call: Api, agent: Agent, disks: list[int]) -> None:
    servers = [Disk.objects.get(pk=disk).server_id for disk in disks]
    fresh = [add_disk(call, server, f"/dev/fresh-{server}") for server in servers]
    own, other = (Extent.objects.get(disk=d, status=Extent.Status.OFFLINE).pk for d in fresh)

    assert agent("notifyShredFinished", dextid=other) == EACCES
    assert agent("notifyShredFinished", dextid=own) == 0


def test_a_token_goes_with_its_node_to_other_addresses(agent: Agent) -> None:
    about = {"node_uuid": "n1", "boot_id": "b"}
    agent("registerStorageServer", ip_data=["10.1.0.1"], **about)
    Address.objects.update(silent_since=timezone.now())

    assert agent("registerStorageServer", ip_data=["10.1.0.5"], **about) == 0
    assert Address.objects.get().address == "10.1.0.5"
    assert agent("registerStorageServer", ip_data=["10.1.0.5"], node_uuid="n2") == EACCES


def test_another_node_takes_no_server_for_which_a_token_speaks(
    agent: Agent, make_token: MakeToken
) -> None:
    agent("registerStorageServer", ip_data=["10.1.0.1"], node_uuid="n1", boot_id="b")
    Address.objects.update(silent_since=timezone.now())
    thief = Agent("node-2", make_token("node-2", "agent"))

    told = {"node_uuid": "n1", "boot_id": "b"}
    assert thief("registerStorageServer", ip_data=["10.1.0.2"], **told) == EACCES
    assert Address.objects.get().address == "10.1.0.1"


def test_a_node_that_lost_its_state_folder_is_refused_with_what_to_do(
    call: Api, agent: Agent
) -> None:
    agent("registerStorageServer", ip_data=["10.1.0.1"], node_uuid="n1", boot_id="b")
    number = StorageServer.objects.get().pk
    again = {"ip_data": ["10.1.0.1"], "node_uuid": "n2", "boot_id": "b"}

    assert agent("registerStorageServer", **again) == EACCES
    assert "vastsky.forgetNode" in RefusedNode.objects.get().reason
    call("vastsky.forgetNode", ssvrid=number)

    assert agent("registerStorageServer", **again) == 0
    assert (StorageServer.objects.get().pk, RefusedNode.objects.count()) == (number, 0)


def test_a_restart_that_nobody_noticed_is_no_matter_of_the_agent(agent: Agent) -> None:
    agent("registerHeadServer", ip_data=["10.1.0.1"], node_uuid="n1", boot_id="old")

    assert agent("registerHeadServer", ip_data=["10.1.0.1"], node_uuid="n1", boot_id="new") == 0
    assert HeadServer.objects.get().boot_id == "new"
