"""What smartd and the kernel say of disks reaches the manager: once, and for sure."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from agents.errors import AgentError
from agents.monitor import judgement, kernel_log
from agents.monitor.kernel_log import BadSector
from agents.monitor.monitor import Monitor
from agents.monitor.remembered import DISK, MonitorMemory, read
from agents.monitor.smart_warning import SmartWarning
from agents.node.config import StorageConfig, load_config
from agents.node.registration import SERVER_ID
from agents.node.state_store import StateStore
from inventory.models import AuditEntry, Disk, Extent, Priority
from tests.contract.api import Api, add_disk, zero_everything

GB_SECTORS = 1 << 21
LINE = "3,{number},5,-;{status} error, dev {dev}, sector {sector} op 0x0:({op}) flags 0x0\n"


@dataclass
class Node:
    """A storage server with two disks of 10 GB: sdb, and the second partition of sdc."""

    folder: Path
    url: str
    disks: tuple[int, int]

    @property
    def memory(self) -> Path:
        return self.folder / "state" / "monitor" / "memory.json"

    def config(self, url: str = "") -> StorageConfig:
        path = self.folder / "etc" / "storage.toml"
        path.parent.mkdir(exist_ok=True)
        disks = "".join(f'[[disks]]\npath = "{self.folder}/{d}"\n' for d in ("by-id", "sdc2"))
        state = self.folder / "state" / "storage"
        path.write_text(
            f'manager = "{url or self.url}/RPC2"\naddresses = ["10.8.0.1"]\n'
            f'state_dir = "{state}"\n{disks}'
        )
        return load_config(StorageConfig, path)

    def monitor(self, url: str = "") -> Monitor:
        return Monitor(self.config(url), self.memory, self.folder / "block")

    def hear(self, *lines: str, url: str = "") -> None:
        """Let the kernel say this, and a monitor listen until it is silent."""
        kmsg = self.folder / "kmsg"
        kmsg.write_text("".join(lines))
        self.monitor(url).follow(kmsg, lambda: False)


def error(number: int, dev: str, gb: int, op: str = "READ", status: str = "I/O") -> str:
    sector = gb * GB_SECTORS + 17
    return LINE.format(number=number, dev=dev, sector=sector, op=op, status=status)


@pytest.fixture
def node(transactional_db: None, live_server: LiveServer, call: Api, tmp_path: Path) -> Node:
    server = call("registerStorageServer", ip_data=["10.8.0.1"])
    for name in ("sdb", "sdc2"):
        (tmp_path / name).touch()
        (tmp_path / "block" / name).mkdir(parents=True)
    (tmp_path / "by-id").symlink_to("sdb")
    part = tmp_path / "block" / "sdc2"
    part.rmdir()
    (tmp_path / "devices" / "sdc" / "sdc2").mkdir(parents=True)
    part.symlink_to(tmp_path / "devices" / "sdc" / "sdc2")
    (part / "partition").write_text("2\n")
    (part / "start").write_text(f"{3 * GB_SECTORS}\n")
    disks = [add_disk(call, server, str(tmp_path / path), 11) for path in ("by-id", "sdc2")]
    zero_everything()
    store = StateStore(tmp_path / "state" / "storage" / "agent.db")
    store.learn(SERVER_ID, str(server))
    return Node(tmp_path, live_server.url, (disks[0], disks[1]))


def bad(pdskid: int) -> list[int]:
    """The GB of a disk that are out of use."""
    extents = Extent.objects.filter(disk=pdskid, status=Extent.Status.FAULTY).order_by("offset_gb")
    return [gb for e in extents for gb in range(e.offset_gb, e.offset_gb + e.size_gb)]


# -- the kernel -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("I/O error, dev sdb, sector 2097 op 0x0:(READ) flags 0x40", BadSector("sdb", 2097)),
        ("blk_update_request: I/O error, dev sda, sector 9 op 0x1:(WRITE)", BadSector("sda", 9)),
        ("blk_update_request: critical medium error, dev vda, sector 8", BadSector("vda", 8)),
        ("print_req_error: I/O error, dev cciss!c0d0, sector 7", BadSector("cciss/c0d0", 7)),
        ("I/O error, dev sdb, sector 0 op 0x2:(FLUSH) flags 0x800", None),
        ("I/O error, dev sdb, sector 64 op 0x3:(DISCARD) flags 0x800", None),
        ("Buffer I/O error on dev dm-0, logical block 1, async page read", None),
        ("timeout error, dev sdb, sector 64 op 0x0:(READ)", None),
    ],
)  # fmt: skip
def test_lines_of_several_kernels_are_understood(line: str, found: BadSector | None) -> None:
    assert kernel_log.bad_sector(line) == found


def test_a_bad_sector_takes_its_gb_out_of_use(node: Node) -> None:
    node.hear("6,1,1,-;sdb: all is well\n", error(2, "sdb", 4), " SUBSYSTEM=block\n",
              error(3, "sdc", 5), error(4, "sdz", 1), error(5, "sdc", 2))  # fmt: skip

    sdb, sdc2 = node.disks
    assert (bad(sdb), bad(sdc2)) == ([4], [2])


def test_what_was_told_is_not_told_again(node: Node) -> None:
    node.hear(error(1, "sdb", 4), error(2, "sdb", 4))
    node.hear(error(1, "sdb", 4), error(2, "sdb", 4), error(3, "sdb", 4))

    assert AuditEntry.objects.filter(verb="report_bad_blocks").count() == 1
    assert len(read(node.memory).told) == 1


def test_errors_all_over_a_disk_are_the_disks_own(node: Node) -> None:
    node.hear(*(error(number, "sdb", number) for number in range(9)))

    sdb, sdc2 = (Disk.objects.get(pk=pk) for pk in node.disks)
    assert (sdb.priority, sdc2.priority) == (Priority.FAULTY, Priority.HIGH)
    entry = AuditEntry.objects.get(verb="fail_disk")
    assert entry.detail == "kernel: errors in 9 GB of it within 10 minutes"


def test_what_a_manager_that_is_away_was_to_hear_is_told_later(node: Node) -> None:
    node.hear()
    node.hear(error(1, "sdb", 4), url="http://127.0.0.1:9")
    assert bad(node.disks[0]) == []

    node.hear()
    assert bad(node.disks[0]) == [4]
    assert read(node.memory).notes == ()


def test_no_more_is_told_within_an_hour_than_a_manager_can_bear() -> None:
    memory = MonitorMemory()
    for disk in range(100):
        memory = judgement.bad_block(memory, disk, 1, now=1000 + disk)

    assert len(memory.notes) == judgement.HOURLY
    later = judgement.bad_block(memory, 99, 1, now=1000 + judgement.HOUR + 50)
    assert later.notes[-1].pdskid == 99


def test_a_disk_that_was_told_to_have_failed_has_no_more_bad_blocks() -> None:
    memory = judgement.failure(MonitorMemory(), 7, "smartd: it ends", now=1000)
    memory = judgement.bad_block(memory, 7, 3, now=1001)

    assert [note.block for note in memory.notes] == [DISK]


# -- smartd ---------------------------------------------------------------------------------------


def run(node: Node, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the command as smartd does, with its variables."""
    node.config()
    words = ("--config-dir", str(node.folder / "etc"), "--state-dir", str(node.folder / "state"))
    return subprocess.run(
        [sys.executable, "-m", "agents.vastsky_node", *words, "monitor"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_disk_that_smartd_expects_to_fail_is_replaced(node: Node) -> None:
    done = run(
        node,
        SMARTD_DEVICE=str(node.folder / "by-id"),
        SMARTD_FAILTYPE="Health",
        SMARTD_MESSAGE="Device: /dev/sdb, FAILED SMART self-check. BACK UP DATA NOW!",
    )

    assert done.returncode == 0, done.stderr
    assert Disk.objects.get(pk=node.disks[0]).priority == Priority.FAULTY
    words = AuditEntry.objects.get(verb="fail_disk").detail
    assert words == "smartd: Device: /dev/sdb, FAILED SMART self-check. BACK UP DATA NOW!"


@pytest.mark.parametrize(
    ("bits", "priority"),
    [("0x04): Reliability", Priority.FAULTY), ("0x02): Temperature", Priority.HIGH)],
)
def test_an_nvme_disk_is_known_by_its_controller_and_does_not_fail_by_warmth(
    node: Node, bits: str, priority: Priority
) -> None:
    controller = node.folder / "devices" / "nvme0"
    controller.mkdir()
    (node.folder / "block" / "sdb" / "device").symlink_to(controller)
    said = f"Device: /dev/nvme0, Critical Warning ({bits}"
    warning = SmartWarning("/dev/nvme0", "Health", said)

    node.monitor().hear_smartd(warning)

    sdb, sdc2 = (Disk.objects.get(pk=pk) for pk in node.disks)
    assert (sdb.priority, sdc2.priority) == (priority, Priority.HIGH)


def test_a_warning_of_less_changes_nothing(node: Node) -> None:
    done = run(node, SMARTD_DEVICE=str(node.folder / "by-id"), SMARTD_FAILTYPE="Temperature")

    assert done.returncode == 0
    assert "Temperature" in done.stderr
    assert Disk.objects.get(pk=node.disks[0]).priority == Priority.HIGH


def test_smartds_test_tries_the_way_to_the_manager(node: Node) -> None:
    test = {"SMARTD_DEVICE": "/dev/sdb", "SMARTD_FAILTYPE": "EmailTest"}
    assert run(node, **test).returncode == 0

    node.url = "http://127.0.0.1:9"
    assert run(node, **test).returncode == 1


# -- the memory -----------------------------------------------------------------------------------


def test_a_newer_monitors_memory_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(json.dumps({"version": 2, "all": "else"}))

    with pytest.raises(AgentError, match="of version 2, and this monitor knows 1"):
        read(path)


def test_a_memory_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(
        '{"version": 1, "boot": "b", "record": 5, "seen": [{"pdskid": 1, "block": 2, "at": 3}],'
        ' "told": [], "notes": [{"pdskid": 1, "block": -1, "reason": "r"}], "disks": [{"pdskid": 1,'
        ' "capacity_gb": 9, "devices": ["sda", "sdb"], "whole": "", "start": 0}]}'
    )

    memory = read(path)
    assert (memory.record, memory.seen[0].block, memory.notes[0].reason) == (5, 2, "r")
    assert memory.disks[0].devices == ("sda", "sdb")
