"""A copy of a disk is told from the disk by the hardware for which its label was written."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.disks import Disks
from agents.node.storage.hardware_ids import device_name, differ


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "fresh" / "agent.db")
    yield store
    store.close()


def make_a_copy(path: Path) -> Path:
    copy = path.with_name("a-copy.img")
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    return copy


def told(manager: Any, wait_until: Callable[..., Any], times: int) -> list[int]:
    """How often, and as what, the disk was registered."""
    wait_until(lambda: len(manager.told("registerPhysicalDisk")) >= times)
    return [struct["copied"] for struct in manager.told("registerPhysicalDisk")]


@pytest.mark.parametrize(("accept", "expected"), [(False, 1), (True, 2)])
def test_a_copy_in_the_place_of_a_disk_is_told_once(
    node: Any, manager: Any, wait_until: Callable[..., Any], *, accept: bool, expected: int
) -> None:
    name = node.state().disks[0].disk
    node.end()
    make_a_copy(node.disk_path).rename(node.disk_path)
    node.disks[0]["accept_copy"] = accept
    node.start()
    assert told(manager, wait_until, 2) == [0, expected]
    assert node.registered().disks[0].disk == name

    node.end()
    node.start()
    assert told(manager, wait_until, 3) == [0, expected, 0]


def test_a_disk_that_was_moved_to_another_path_and_grew_is_no_copy(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    node.end()
    os.truncate(node.disk_path, 7 << 30)
    moved = node.disk_path.rename(node.disk_path.with_name("moved.img"))
    node.disks[0]["path"] = str(moved)
    node.start()

    assert told(manager, wait_until, 2) == [0, 0]
    assert manager.told("registerPhysicalDisk")[1]["capacity"] == str(4 << 21)


def test_where_nobody_remembers_the_original_goes_before_its_copy(
    node: Any, store: StateStore
) -> None:
    original = node.disk_path
    node.stop()
    copy = make_a_copy(original)
    disks = Disks(store)

    disks.open_all([DiskConfig(str(copy)), DiskConfig(str(original))], "c1")

    assert [disk.config.path for disk in disks] == [str(original)]
    assert [refused.local_path for refused in disks.refused] == [str(copy)]
    disks.close()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"wwid": "eui.0025385b91", "device/serial": "S4EV"}, "wwid eui.0025385b91"),
        ({"device/wwid": "naa.5000c500a1b2c3d4"}, "device/wwid naa.5000c500a1b2c3d4"),
        ({"serial": "volume-17  "}, "serial volume-17"),
        ({"dm/uuid": "LVM-x1"}, "dm/uuid LVM-x1"),
        ({}, ""),
    ],
)
def test_a_device_is_named_by_what_it_tells_of_itself(
    tmp_path: Path, facts: dict[str, str], expected: str
) -> None:
    for fact, value in facts.items():
        path = tmp_path / fact
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    assert device_name(tmp_path) == expected


def test_a_partition_is_named_by_its_disk_and_number(tmp_path: Path) -> None:
    part = tmp_path / "devices" / "sda" / "sda3"
    part.mkdir(parents=True)
    (part / "partition").write_text("3\n")
    (part.parent / "wwid").write_text("naa.5\n")
    (tmp_path / "8:3").symlink_to(part)

    assert device_name(tmp_path / "8:3") == "wwid naa.5 3"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("wwid naa.5", "wwid naa.5", False),
        ("wwid naa.5", "wwid naa.6", True),
        ("device/wwid naa.5", "dm/uuid mpath-35", False),
        ("file 17", "wwid naa.5", True),
        ("file 17", "file 18", True),
        ("", "wwid naa.5", False),
    ],
)
def test_two_names_are_of_two_disks_only_where_that_is_sure(
    one: str, other: str, *, expected: bool
) -> None:
    assert (differ(one, other), differ(other, one)) == (expected, expected)
