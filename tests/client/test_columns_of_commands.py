"""What the commands print, to the column: operators' scripts have cut it since 2010."""

import re
from collections.abc import Callable

import pytest

from inventory.models import HeadServer
from tests.conftest import AddServer
from tests.contract.api import Api
from vastsky_client import lists
from volumes.models import Attachment, LogicalVolume

Vas = Callable[..., list[str]]

VOLUMES = """\
lvolid         lvolname       redundancy capacity  hsvrid        failure      ctime
lvol-000008d1  foo                     2    10 GB  hsvr-00000001 ---          2010-10-20T05:45:39
        snapshot-origin of lvol-000008da
"""
"""As in the commands' reference of 2010."""
TREE = (
    "mirror           offset capacity | disk-extent    physical-disk    offset server         sync"
)
DISK = "pdsk-........  ssvr-........  HIGH          0     100 GB      99 GB    1% /dev/disk/by-id/"


@pytest.fixture
def pool(add_server: AddServer) -> None:
    for _ in range(3):
        add_server(disks=2, gb=100)


def stable(lines: list[str]) -> list[str]:
    """Replace ids and times, which differ from run to run, by others of the same width."""
    text = re.sub(r"\b(....)-[0-9a-f]{8}\b", r"\1-........", "\n".join(lines))
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "yyyy-mm-ddThh:mm:ss", text).splitlines()


def test_the_list_of_2010_comes_out_letter_by_letter() -> None:
    struct = {
        "hsvrid": 1, "lvolid": 0x8D1, "lvolname": "foo", "redundancy": 2, "capacity": 10,
        "associated_to": [], "associated_from": [{"lvolid": 0x8DA, "type": "snapshot"}],
        "fault": False, "bind_status": 1, "bind_event": 0, "ctime": "2010-10-20T05:45:39",
    }  # fmt: skip
    assert [line.rstrip() for line in lists.volumes([struct])] == VOLUMES.splitlines()


@pytest.mark.usefixtures("pool")
def test_create_prints_the_id_and_the_list_shows_the_volume(vas: Vas, call: Api) -> None:
    (lvolid,) = vas("lvol_create", "--redundancy", "2", "foo", "10")
    assert call("listLogicalVolumes", lvolname="foo")[0]["lvolid"] == int(lvolid[5:], 16)
    assert re.fullmatch("lvol-[0-9a-f]{8}", lvolid)
    head, foo = stable(vas("lvol_list", lvolid))
    assert head == VOLUMES.splitlines()[0]
    assert foo == (
        "lvol-........  foo                     2    10 GB  ---           ---"
        "          yyyy-mm-ddThh:mm:ss"
    )


@pytest.mark.usefixtures("pool")
def test_redundancy_is_three_unless_told(vas: Vas, call: Api) -> None:
    vas("lvol_create", "foo", "10")
    assert call("listLogicalVolumes", lvolname="foo")[0]["redundancy"] == 3


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize(
    ("state", "mark"),
    [
        (Attachment.State.BINDING, "+"),
        (Attachment.State.BOUND, " "),
        (Attachment.State.UNBINDING, "-"),
        (Attachment.State.ERROR, "*"),
    ],
)
def test_a_mark_tells_how_the_volume_is_attached(
    vas: Vas, call: Api, state: Attachment.State, mark: str
) -> None:
    hsvrid = call("registerHeadServer", ip_data=["10.7.0.1"])
    volume = LogicalVolume.objects.get(pk=call("createLogicalVolume", lvolname="foo", capacity=1))
    head = HeadServer.objects.get(pk=hsvrid)
    Attachment.objects.create(volume=volume, head=head, state=state)
    row = vas("lvol_list", "foo")[1]
    assert row[50:64] == f"{mark}hsvr-{hsvrid:08x}"
    assert row[65:68] == "---"


@pytest.mark.usefixtures("pool")
def test_a_snapshot_and_its_origin_name_each_other(vas: Vas) -> None:
    (origin,) = vas("lvol_create", "foo", "10")
    (snapshot,) = vas("snap_create", "foo", "foo-monday")
    lines = vas("lvol_list")
    assert lines[2] == f"        snapshot-origin of {snapshot}"
    assert lines[3].startswith(f"{snapshot}  foo-monday ")
    assert lines[4] == f"        snapshot of {origin}"
    assert vas("lvol_show", "foo")[-1] == f"        snapshot-origin of {snapshot} foo-monday"
    assert vas("lvol_show", snapshot)[-1] == f"        snapshot of {origin} foo"


@pytest.mark.usefixtures("pool")
def test_the_tree_shows_every_mirror_with_its_replicas_in_order(vas: Vas, call: Api) -> None:
    call("createLogicalVolume", lvolname="foo", capacity=30, redundancy=2)
    lines = stable(vas("lvol_show", "foo"))
    assert lines[:2] == [
        "lvolid: lvol-........ lvol_name: foo capacity: 30 GB redundancy: 2",
        TREE,
    ]
    mirrors = [line for line in lines if line.startswith("mirr-")]
    offset = 0
    for line in mirrors:
        found = re.fullmatch(r"mirr-\.{8}  {3,}(\d+) GB +(\d+) GB \|", line)
        assert found
        assert int(found[1]) == offset
        offset += int(found[2])
    assert offset == 30
    replicas = [line for line in lines if line.startswith(" ")]
    assert len(replicas) == 2 * len(mirrors)
    row = r" {33}\| dext-\.{8}  pdsk-\.{8} +\d+ GB ssvr-\.{8}  ALLOCATED"
    assert all(re.fullmatch(row, line) for line in replicas)


def test_storage_servers_follow_a_total(vas: Vas, add_server: AddServer, call: Api) -> None:
    for _ in range(3):
        add_server(disks=1, gb=99)
    call("createLogicalVolume", lvolname="foo", capacity=40, redundancy=3)
    lines = stable(vas("ssvr_list"))
    assert lines[:4] == [
        "total 300 GB available 177 GB use% 41%",
        "ssvrid         priority  resync   capacity  available  use%",
        "ssvr-........  HIGH          0     100 GB      59 GB   41%",
        "        inet 10.8.0.1",
    ]
    assert len(lines) == 2 + 3 * 3


def test_large_totals_stand_as_in_2010(vas: Vas, add_server: AddServer) -> None:
    add_server(disks=1, gb=22331)
    assert vas("ssvr_list")[0] == "total 22332 GB available 22331 GB use% 0%"


def test_disks_follow_a_total_and_one_server_can_be_chosen(vas: Vas, add_server: AddServer) -> None:
    add_server(disks=1, gb=99)
    ssvrid = add_server(disks=2, gb=99)
    assert stable(vas("pdsk_list", f"ssvr-{ssvrid:08x}")) == [
        "total 200 GB available 198 GB use% 1%",
        "pdskid         ssvrid         priority resync   capacity  available  use% local_path",
        f"{DISK}2-0",
        f"{DISK}2-1",
    ]


def test_an_empty_cluster_has_nothing_in_use(vas: Vas) -> None:
    assert vas("pdsk_list")[0] == "total 0 GB available 0 GB use% 0%"
    assert len(vas("pdsk_list")) == 2


def test_head_servers_have_their_addresses_below(vas: Vas, call: Api) -> None:
    both = call("registerHeadServer", ip_data=["10.7.0.1", "10.7.1.1"])
    one = call("registerHeadServer", ip_data=["10.7.0.2"])
    assert vas("hsvr_list") == [
        "hsvrid         priority  resync",
        f"hsvr-{both:08x}  HIGH          0",
        "        inet 10.7.0.1",
        "        inet 10.7.1.1",
        f"hsvr-{one:08x}  HIGH          0",
        "        inet 10.7.0.2",
    ]
    assert len(vas("hsvr_list", f"hsvr-{one:08x}")) == 3
