"""A head agent with real storage agents behind it, told by the client over the wire."""

import contextlib
import errno
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.client import Fault
from agents.ondisk import MIB
from agents.protocol import (
    AttachOrder,
    CancelOrder,
    DetachOrder,
    Progress,
    RebuildOrder,
    ReplicaState,
    UnsnapshotOrder,
)
from tests.agents.pool import LVOL, MIRROR, SNAP, Pool, open_device


@pytest.fixture
def pool(make_node: Callable[[], Any]) -> Pool:
    return Pool(make_node)


def replicas_told(head: Any) -> dict[int, ReplicaState]:
    """Those of mirrors that are not simply in sync."""
    (group,) = head.state().groups
    return {replica.dextid: replica.state for replica in group.replicas}


def test_a_volume_is_attached_written_detached_and_read_again(head: Any, pool: Pool) -> None:
    report = head.agent.attach(pool.attach_order())
    assert (report.progress, report.message) == (Progress.DONE, "")
    with open_device(head) as device:
        device.write(5 * MIB, b"v" * 4096)
        assert head.agent.detach(DetachOrder(2, 1, 1, LVOL, 1)).errno == errno.EBUSY
    done = head.agent.detach(DetachOrder(2, 2, 1, LVOL, 1))

    assert {replica.state for replica in done.replicas} == {ReplicaState.INSYNC}
    assert not (head.links / "db").exists()
    assert head.state().groups == ()
    assert head.agent.attach(pool.attach_order(3, epoch=2)).progress is Progress.DONE
    with open_device(head) as device:
        assert device.read(5 * MIB, 4096) == b"v" * 4096


def test_a_group_that_was_fenced_goes_at_once_whoever_has_it_open(head: Any, pool: Pool) -> None:
    """Even if its process hangs; and nothing brings it back."""
    head.agent.attach(pool.attach_order())
    (lock,) = head.folder.glob("**/groups/*/lock")
    process = json.loads(lock.read_text())["pid"]
    with open_device(head) as device:
        device.write(0, b"v" * 4096)
        assert head.agent.detach(DetachOrder(2, 1, 1, LVOL, 1)).errno == errno.EBUSY
        os.kill(process, signal.SIGSTOP)

        began = time.monotonic()
        done = head.agent.detach(DetachOrder(3, 1, 1, LVOL, 1, force=True))
        assert time.monotonic() - began < 2

        assert (done.progress, done.message) == (Progress.DONE, "")
        with pytest.raises(OSError, match=r"closed|Broken pipe|reset"):
            device.write(0, b"w" * 4096)
    assert list(head.links.iterdir()) == []
    assert not Path(f"/proc/{process}").exists()
    time.sleep(2.5)  # the watch looks every second
    assert head.state().groups == ()
    assert head.agent.attach(pool.attach_order(4, epoch=2)).progress is Progress.DONE


def test_a_newer_epoch_of_a_group_is_not_cut(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order(epoch=2))

    assert head.agent.detach(DetachOrder(2, 1, 1, LVOL, 1, force=True)).errno == errno.ESTALE
    with open_device(head) as device:
        device.write(0, b"v" * 4096)


def test_orders_repeated_five_times_change_nothing(head: Any, pool: Pool) -> None:
    attach, detach = pool.attach_order(), DetachOrder(2, 1, 1, LVOL, 1)

    assert len({repr(head.agent.attach(attach)) for _ in range(5)}) == 1
    (group,) = head.state().groups
    assert group.alive
    assert len({repr(head.agent.detach(detach)) for _ in range(5)}) == 1
    assert head.agent.detach(DetachOrder(2, 2, 1, LVOL, 1)).progress is Progress.DONE


def test_an_epoch_that_is_over_is_not_attached_again(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order())
    head.agent.detach(DetachOrder(2, 1, 1, LVOL, 1))
    head.agent.acknowledge([1, 2])
    head.end(signal.SIGKILL)
    head.start()

    with pytest.raises(Fault) as refusal:
        head.agent.attach(pool.attach_order())
    assert refusal.value.errno == errno.ESTALE


def test_a_number_that_names_another_volume_here_is_refused(head: Any, pool: Pool) -> None:
    """A manager that was restored from an old backup gave it out twice."""
    first, other = 1764000000, 1764009999
    head.agent.attach(born(pool.attach_order(), first))
    head.agent.detach(DetachOrder(2, 1, 1, LVOL, 1))
    head.end(signal.SIGKILL)
    head.start()

    with pytest.raises(Fault) as refusal:
        head.agent.attach(born(pool.attach_order(3, epoch=2), other))
    assert refusal.value.errno == errno.EEXIST
    assert head.state().groups == ()

    # An older manager says nothing of births, and the volume itself is as welcome as before.
    assert head.agent.attach(pool.attach_order(4, epoch=3)).progress is Progress.DONE
    head.agent.detach(DetachOrder(5, 1, 1, LVOL, 3))
    assert head.agent.attach(born(pool.attach_order(6, epoch=4), first)).progress is Progress.DONE


def test_a_snapshot_whose_number_names_another_volume_here_is_refused(
    head: Any, pool: Pool
) -> None:
    head.agent.attach(born(pool.attach_order(), 1764000000))
    order = pool.snapshot_order()
    stranger = replace(order.device, lvolid=LVOL, created=1764009999)

    with pytest.raises(Fault) as refusal:
        head.agent.snapshot(replace(order, device=stranger))

    assert refusal.value.errno == errno.EEXIST
    assert head.agent.snapshot(order).progress is Progress.DONE


def born(order: AttachOrder, moment: int) -> AttachOrder:
    """Say when the volume of an order was made."""
    return replace(order, devices=tuple(replace(one, created=moment) for one in order.devices))


def test_a_detach_of_an_older_epoch_leaves_the_newer_alone(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order(epoch=3))

    assert head.agent.detach(DetachOrder(2, 1, 1, LVOL, 2)).errno == errno.ESTALE
    assert len(head.state().groups) == 1


def test_an_attach_that_finds_no_replica_fails_with_a_reason(head: Any, pool: Pool) -> None:
    order = pool.attach_order()
    for node in pool.nodes:
        node.end()
        os.kill(node.data_server_pid, signal.SIGKILL)

    report = head.agent.attach(order)

    assert report.progress is Progress.FAILED
    assert report.errno
    assert report.message


def test_a_killed_storage_server_is_reported_within_two_seconds(
    head: Any, pool: Pool, manager: Any, wait_until: Any
) -> None:
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        device.write(0, b"x" * 4096)
        pool.nodes[1].end()
        os.kill(pool.nodes[1].data_server_pid, signal.SIGKILL)
        began = time.monotonic()
        device.write(0, b"y" * 4096)
        told = wait_until(lambda: manager.told("notifyFailure"))
        took = time.monotonic() - began

    assert told == [{"ver": 5, "target": 4, "targetid": 101, "reason": "connection"}]
    assert took < 2
    assert replicas_told(head) == {100: ReplicaState.INSYNC, 101: ReplicaState.FAULTY}


def test_a_rebuild_brings_a_new_replica_into_sync(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        device.write(7 * MIB, b"r" * MIB)
    order = RebuildOrder(5, 1, 1, LVOL, 1, MIRROR, pool.replica(1, 103, 2, 1), 101)

    first = [head.agent.rebuild(order).progress for _ in range(3)]
    report = head.await_end(5)

    assert set(first) <= {Progress.RUNNING, Progress.DONE}
    assert (report.progress, report.message) == (Progress.DONE, "")
    assert replicas_told(head) == {}
    assert {replica.dextid for replica in report.replicas} == {100, 103}
    with pool.nodes[1].disk_path.open("rb") as disk:
        disk.seek((2 << 30) + 7 * MIB)
        assert disk.read(MIB) == b"r" * MIB


def test_a_cancelled_rebuild_fails_and_a_killed_agent_finds_a_running_one(
    head: Any, pool: Pool
) -> None:
    head.settings["rebuild_mib_per_s"] = 1
    head.end()
    head.start()
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        for place in range(0, 64 * MIB, MIB):
            device.write(place, b"r" * MIB)
    order = RebuildOrder(5, 1, 1, LVOL, 1, MIRROR, pool.replica(1, 103, 2, 1), 101)
    head.agent.rebuild(order)
    head.end(signal.SIGKILL)
    head.start()

    assert head.agent.report(5, 1).progress is Progress.RUNNING
    head.agent.cancel(CancelOrder(5, 1, 1))
    assert head.await_end(5).errno == errno.ECANCELED
    assert replicas_told(head).get(101, ReplicaState.INSYNC) is ReplicaState.INSYNC


def test_a_snapshot_keeps_what_was_and_goes_away_again(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        device.write(0, b"old!" * 1024)
        order = pool.snapshot_order()
        reports = [head.agent.snapshot(order) for _ in range(3)]
        assert {(r.progress, r.message) for r in reports} == {(Progress.DONE, "")}
        device.write(0, b"new!" * 1024)
        with open_device(head, "was") as snapshot:
            assert snapshot.read(0, 4) == b"old!"

    report = head.agent.unsnapshot(UnsnapshotOrder(4, 1, 1, LVOL, 1, SNAP))
    assert (report.progress, report.message) == (Progress.DONE, "")
    assert not (head.links / "was").exists()


def test_a_killed_agent_leaves_the_volume_in_use_and_finds_it_again(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        head.end(signal.SIGKILL)
        device.write(0, b"z" * 4096)
        head.start()
        (group,) = head.state().groups

        assert (group.lvolid, group.epoch, group.alive) == (LVOL, 1, True)
        assert group.devices[0].clients == 1


def test_a_dead_group_is_brought_back(head: Any, pool: Pool, wait_until: Any) -> None:
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        device.write(0, b"w" * 4096)
    head.end()
    head.stop()
    assert not head_is_served(head)

    head.start()
    wait_until(lambda: head_is_served(head))
    with open_device(head) as device:
        assert device.read(0, 4096) == b"w" * 4096


def head_is_served(head: Any) -> bool:
    try:
        open_device(head).close()
    except OSError:
        return False
    return True


def test_a_group_that_ended_with_the_machine_is_not_told_as_here(head: Any, pool: Pool) -> None:
    head.agent.attach(pool.attach_order())
    head.end(signal.SIGKILL)
    head.stop()
    with contextlib.closing(sqlite3.connect(head.folder / "state/agent.db")) as memory:
        memory.execute("UPDATE facts SET value = 'earlier' WHERE name = 'boot of group 50'")
        memory.commit()

    head.start()

    assert head.state().groups == ()
    assert not (head.links / "db").is_symlink()
    assert head.agent.detach(DetachOrder(3, 1, 1, LVOL, 1)).progress is Progress.DONE
