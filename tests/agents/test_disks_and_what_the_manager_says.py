"""What an agent tells the manager of disks that go, and does with those that it refuses."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.client import Fault
from agents.ondisk import Mark, label_offsets, mark_offset, pack_mark
from agents.protocol import About, ExportOrder, ReplicaAbout, VolumeAbout


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(data)


def refused_by_the_manager(node: Any, manager: Any, code: int) -> Any:
    """Start an agent whose disk the manager refuses for good; its state."""
    manager.faults["registerPhysicalDisk"] = [code] * 1000
    node.end()
    node.start()
    return node.state


def test_a_disk_that_the_manager_refuses_is_told_and_not_used(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    extent = node.extent()
    state = refused_by_the_manager(node, manager, errno.EBUSY)

    (refused,) = wait_until(lambda: state().refused)

    assert (refused.local_path, refused.disk) == (str(node.disk_path), extent.disk)
    assert refused.reason == os.strerror(errno.EBUSY)
    assert state().disks == ()
    answer = node.agent.export(ExportOrder(7, 1, 50, 1, "secret", (extent,)))
    assert answer.refused == {"100": os.strerror(errno.EBUSY)}

    node.disk_path.unlink()
    time.sleep(2.5)
    assert manager.told("notifyFailure") == []


@pytest.mark.parametrize("rows", [[], [{"pdskid": 2, "priority": 5}]])
def test_a_disk_that_was_declared_failed_is_told_as_refused(
    node: Any, manager: Any, wait_until: Callable[..., Any], rows: list[dict[str, int]]
) -> None:
    manager.answers["listPhysicalDisks"] = rows
    state = refused_by_the_manager(node, manager, errno.EEXIST)

    wait_until(lambda: [r.reason for r in state().refused] == [os.strerror(errno.EEXIST)])

    manager.faults["registerPhysicalDisk"].clear()
    wait_until(lambda: state().refused == ())
    assert [disk.error for disk in state().disks] == [""]


def test_a_refusal_that_may_pass_leaves_the_disk_in_use(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    before = len(manager.told("registerPhysicalDisk"))
    state = refused_by_the_manager(node, manager, errno.EAGAIN)

    wait_until(lambda: len(manager.told("registerPhysicalDisk")) > before + 1)
    assert state().refused == ()
    assert len(state().disks) == 1


def test_a_disk_that_was_pulled_out_is_told_as_gone(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    node.disk_path.rename(node.disk_path.with_name("pulled-out"))

    (told,) = wait_until(lambda: manager.told("notifyFailure"))

    assert (told["target"], told["reason"]) == (3, "gone")
    assert [disk.gone for disk in node.state().disks] == [True]


def test_a_disk_without_its_label_is_told_as_failed(
    node: Any, manager: Any, wait_until: Callable[..., Any]
) -> None:
    write(node.disk_path, label_offsets(4)[0], bytes(8192))

    (told,) = wait_until(lambda: manager.told("notifyFailure"))

    assert (told["target"], told["reason"]) == (3, "io")


def test_what_is_over_on_a_disk_is_over_on_the_server_into_which_it_is_put(
    node: Any, make_node: Callable[[], Any], manager: Any
) -> None:
    about = About((VolumeAbout(50, "v", 0, 1, 1, 2, 1),), (ReplicaAbout(100, 50, 60, 0),))
    extent = node.extent()
    node.agent.export(ExportOrder(7, 1, 50, 9, "secret", (extent,), about))
    write(node.disk_path, mark_offset(4, 0), pack_mark(Mark(9, 1, clean=False)))
    node.stop()
    other = make_node()
    node.disk_path.rename(other.disk_path)
    other.start()
    other.registered()

    with pytest.raises(Fault) as refused:
        other.agent.export(ExportOrder(8, 1, 50, 8, "secret", (extent,), about))
    assert refused.value.errno == errno.ESTALE
    again = other.agent.export(ExportOrder(9, 1, 50, 9, "secret", (extent,), about))
    assert [mark.epoch for mark in again.marks] == [9]
