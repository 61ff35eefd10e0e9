"""A storage agent, told by the client over the wire."""

import errno
import os
import signal
import struct
import zlib
from typing import Any

import pytest

from agents.client import Fault
from agents.engines.userspace.nbd.sync_client import BlockingClient
from agents.ondisk import GB, MIB
from agents.protocol import (
    CancelOrder,
    EvictOrder,
    ExportOrder,
    ExtentRef,
    Progress,
    PullOrder,
    ReplicaMark,
    ReplicaSource,
    ShredOrder,
    export_name,
)
from deploy.local.nbd import NbdClient

LVOL = 50


def export(*extents: ExtentRef, epoch: int = 1, lvolid: int = LVOL, incarnation: int = 1) -> Any:
    return ExportOrder(7, incarnation, lvolid, epoch, "secret", extents)


def opens(node: Any, dextid: int, epoch: int) -> bool:
    """Tell whether a head could open the export."""
    name = export_name(dextid, epoch, "secret")
    try:
        BlockingClient(node.settings["addresses"], node.settings["data_port"], name, 5).close()
    except OSError:
        return False
    return True


def test_an_exported_extent_can_be_opened_and_is_in_the_state(node: Any) -> None:
    reply = node.agent.export(export(node.extent(size_gb=2)))

    assert (reply.refused, reply.port) == ({}, node.settings["data_port"])
    assert reply.marks == (ReplicaMark(100, 0, 0, clean=True),)
    assert [(e.dextid, e.lvolid, e.epoch) for e in node.state().exports] == [(100, LVOL, 1)]
    assert opens(node, 100, 1)


def test_the_same_export_five_times_changes_nothing(node: Any) -> None:
    order = export(node.extent())
    replies = {repr(node.agent.export(order)) for _ in range(5)}

    assert len(replies) == 1
    assert len(node.state().exports) == 1


def test_a_newer_epoch_evicts_the_older_and_an_older_is_refused(node: Any) -> None:
    node.agent.export(export(node.extent(), epoch=4))
    node.agent.export(export(node.extent(), epoch=5))

    assert not opens(node, 100, 4)
    assert opens(node, 100, 5)
    with pytest.raises(Fault) as refusal:
        node.agent.export(export(node.extent(), epoch=4))
    assert refusal.value.errno == errno.ESTALE


def test_a_newer_epoch_ends_the_older_on_extents_that_it_does_not_use(node: Any) -> None:
    left = node.extent(1, dextid=101)
    node.agent.export(export(node.extent(), left, epoch=4))
    where = node.settings["addresses"][0], node.settings["data_port"]
    with NbdClient(where, export_name(left.dextid, 4, "secret")) as former:
        former.write(0, b"in time")

        node.agent.export(export(node.extent(), epoch=5))

        with pytest.raises(ConnectionError):
            former.write(0, b"late")
    assert [(state.dextid, state.epoch) for state in node.state().exports] == [(100, 5)]


def test_an_evicted_epoch_stays_out_even_after_a_restart(node: Any) -> None:
    node.agent.export(export(node.extent(), epoch=3))
    node.agent.evict(EvictOrder(8, 1, LVOL, 3))
    assert node.state().exports == ()

    node.end(signal.SIGKILL)
    node.start()
    node.registered()
    with pytest.raises(Fault) as refusal:
        node.agent.export(export(node.extent(), epoch=3))
    assert refusal.value.errno == errno.ESTALE


def test_evicting_one_extent_leaves_the_others_and_the_epoch(node: Any) -> None:
    order = export(node.extent(0), node.extent(1, dextid=101))
    node.agent.export(order)

    node.agent.evict(EvictOrder(8, 1, LVOL, 1, (100,)))
    assert [e.dextid for e in node.state().exports] == [101]

    node.agent.export(order)
    assert sorted(e.dextid for e in node.state().exports) == [100, 101]


def test_an_older_incarnation_is_refused_by_every_order(node: Any) -> None:
    node.agent.export(export(node.extent(), incarnation=9))
    orders: list[Any] = [
        lambda: node.agent.export(export(node.extent(), incarnation=8)),
        lambda: node.agent.evict(EvictOrder(1, 8, LVOL, 1)),
        lambda: node.agent.shred(ShredOrder(1, 1, 8, node.extent())),
        lambda: node.agent.cancel(CancelOrder(1, 1, 8)),
    ]
    for order in orders:
        with pytest.raises(Fault) as refusal:
            order()
        assert refusal.value.errno == errno.ESTALE
    assert len(node.state().exports) == 1


def test_extents_that_cannot_be_served_are_refused_one_by_one(node: Any) -> None:
    node.agent.export(export(node.extent(0, 2, generation=5)))
    other = export(
        node.extent(1, 1, dextid=200, generation=6),
        node.extent(3, 1, dextid=201),
        ExtentRef(202, 1, "no-such-disk", 0, 1),
        node.extent(2, 1, dextid=203),
        lvolid=60,
    )
    reply = node.agent.export(other)

    assert sorted(reply.refused) == ["200", "201", "202"]
    assert [mark.dextid for mark in reply.marks] == [203]
    assert sorted(e.dextid for e in node.state().exports) == [100, 203]


def test_an_older_generation_is_refused(node: Any) -> None:
    node.agent.export(export(node.extent(generation=5)))
    reply = node.agent.export(export(node.extent(dextid=99, generation=4), epoch=2))

    assert "generation 4" in reply.refused["99"]


def test_the_mark_a_head_wrote_is_told(node: Any) -> None:
    body = struct.pack("<8sIII", b"VASMARK1", 3, 17, 0)
    with node.disk_path.open("r+b") as disk:
        disk.seek(3 * GB + 64 * MIB + 1 * 4096)
        disk.write(body + struct.pack("<I", zlib.crc32(body)))

    reply = node.agent.export(export(node.extent(1)))

    assert reply.marks == (ReplicaMark(100, 3, 17, clean=False),)


def test_a_restarted_agent_finds_what_it_served(node: Any) -> None:
    node.agent.export(export(node.extent()))
    boot_id = node.state().boot_id

    node.end(signal.SIGTERM)
    assert opens(node, 100, 1)
    node.start()

    assert [e.dextid for e in node.state().exports] == [100]
    assert node.state().boot_id == boot_id


def test_a_shred_drops_exports_zeroes_the_extent_and_spares_its_neighbours(
    node: Any, manager: Any
) -> None:
    junk = os.urandom(3 * MIB)
    with node.disk_path.open("r+b") as disk:
        for offset in (GB - MIB, 2 * GB - 2 * MIB):
            disk.seek(offset)
            disk.write(junk)
        disk.seek(3 * GB + 64 * MIB + 4096)
        disk.write(b"old mark")
    node.agent.export(export(node.extent(1)))

    first = [node.agent.shred(ShredOrder(9, 1, 1, node.extent(1))) for _ in range(5)]
    report = node.await_end(9)

    assert first[0].progress in {Progress.RUNNING, Progress.DONE}
    assert (report.progress, report.done_mib, report.total_mib) == (Progress.DONE, 1024, 1024)
    assert node.state().exports == ()
    with node.disk_path.open("rb") as disk:
        disk.seek(GB - MIB)
        assert disk.read(MIB) == junk[:MIB]
        assert disk.read(2 * MIB) == bytes(2 * MIB)
        disk.seek(2 * GB - 2 * MIB)
        assert disk.read(2 * MIB) == bytes(2 * MIB)
        assert disk.read(MIB) == junk[2 * MIB :]
        disk.seek(3 * GB + 64 * MIB + 4096)
        assert disk.read(4096) == bytes(4096)
    assert len(manager.told("notifyShredFinished")) <= 1


def test_the_manager_hears_of_a_finished_shred(node: Any, manager: Any, wait_until: Any) -> None:
    node.agent.shred(ShredOrder(9, 1, 1, node.extent(1)))

    told = wait_until(lambda: manager.told("notifyShredFinished"))
    assert told == [{"ver": 5, "dextid": 100, "eventid": 9}]


def test_a_killed_shred_goes_on_after_the_restart(make_node: Any, wait_until: Any) -> None:
    node = make_node()
    node.settings["shred_mib_per_s"] = 64
    node.start()
    node.registered()
    block, nothing = os.urandom(MIB), bytes(MIB)
    with node.disk_path.open("r+b") as disk:
        for n in range(-1, 193):
            disk.seek(GB + n * MIB)
            disk.write(block)
        disk.seek(2 * GB)
        disk.write(block)
    node.agent.shred(ShredOrder(9, 1, 1, node.extent(1)))
    wait_until(lambda: node.agent.report(9, 1).done_mib >= 32)
    node.end(signal.SIGKILL)
    with node.disk_path.open("rb") as disk:
        disk.seek(GB + 192 * MIB)
        assert disk.read(MIB) == block, "it was killed too late to prove anything"

    node.start()
    assert node.await_end(9).progress is Progress.DONE

    with node.disk_path.open("rb") as disk:
        disk.seek(GB - MIB)
        assert disk.read(MIB) == block
        for _ in range(200):
            assert disk.read(MIB) == nothing
        disk.seek(2 * GB)
        assert disk.read(MIB) == block


def test_an_extent_being_shredded_is_not_exported_and_a_cancelled_shred_fails(
    make_node: Any, wait_until: Any
) -> None:
    node = make_node()
    node.settings["shred_mib_per_s"] = 1
    node.start()
    node.registered()
    with node.disk_path.open("r+b") as disk:
        disk.write(os.urandom(64 * MIB))
    node.agent.shred(ShredOrder(9, 1, 1, node.extent()))

    wait_until(lambda: node.agent.export(export(node.extent())).refused)
    node.agent.cancel(CancelOrder(9, 1, 1))

    report = node.await_end(9)
    assert (report.progress, report.errno) == (Progress.FAILED, errno.ECANCELED)
    assert node.agent.export(export(node.extent(generation=2))).refused == {}


def test_results_are_kept_until_they_are_acknowledged(node: Any) -> None:
    node.agent.shred(ShredOrder(9, 1, 1, node.extent()))
    done = node.await_end(9)
    node.end(signal.SIGKILL)
    node.start()
    assert node.agent.report(9, 1) == done

    node.agent.acknowledge([9])
    assert node.agent.report(9, 1).progress is Progress.UNKNOWN


def test_a_shred_of_an_older_generation_fails_and_harms_nothing(node: Any) -> None:
    with node.disk_path.open("r+b") as disk:
        disk.write(b"precious")
    node.agent.export(export(node.extent(generation=5)))

    node.agent.shred(ShredOrder(9, 1, 1, node.extent(generation=4)))

    assert node.await_end(9).errno == errno.ESTALE
    assert len(node.state().exports) == 1
    with node.disk_path.open("rb") as disk:
        assert disk.read(8) == b"precious"


def test_what_comes_late_for_space_that_was_shredded_is_refused(node: Any) -> None:
    node.agent.export(export(node.extent()))
    node.agent.shred(ShredOrder(9, 1, 1, node.extent()))
    node.await_end(9)

    reply = node.agent.export(export(node.extent()))
    nowhere = ReplicaSource(("127.0.0.1",), 9, "nothing")
    node.agent.pull(PullOrder(10, 1, 1, LVOL, 1, nowhere, node.extent()))

    assert "generation 1" in reply.refused["100"]
    assert node.await_end(10).errno == errno.ESTALE
    node.agent.shred(ShredOrder(11, 1, 1, node.extent()))
    assert node.await_end(11).progress is Progress.DONE
    assert node.agent.export(export(node.extent(generation=2))).refused == {}


def test_a_pull_makes_an_equal_replica_with_the_same_mark(make_node: Any) -> None:
    source, target = make_node(), make_node()
    for each in (source, target):
        each.start()
        each.registered()
    body = struct.pack("<8sIII", b"VASMARK1", 1, 5, 1)
    mark = (body + struct.pack("<I", zlib.crc32(body))).ljust(4096, b"\0")
    junk = os.urandom(3 * MIB)
    with source.disk_path.open("r+b") as disk:
        disk.seek(700 * MIB)
        disk.write(junk)
        disk.seek(3 * GB + 64 * MIB)
        disk.write(mark)
    with target.disk_path.open("r+b") as disk:
        disk.seek(2 * GB + 5 * MIB)
        disk.write(b"left over")
    source.agent.export(export(source.extent()))

    there = ReplicaSource(
        tuple(source.settings["addresses"]),
        source.settings["data_port"],
        export_name(100, 1, "secret"),
    )
    target.agent.pull(PullOrder(9, 1, 1, LVOL, 1, there, target.extent(2, dextid=300)))
    report = target.await_end(9)

    assert (report.progress, report.message) == (Progress.DONE, "")
    with source.disk_path.open("rb") as one, target.disk_path.open("rb") as other:
        for offset in (*range(0, 16 * MIB, MIB), *range(696 * MIB, 706 * MIB, MIB)):
            one.seek(offset)
            other.seek(2 * GB + offset)
            assert one.read(MIB) == other.read(MIB)
        other.seek(3 * GB + 64 * MIB + 2 * 4096)
        assert other.read(4096) == mark


def test_a_pull_from_a_source_that_is_not_there_fails(node: Any) -> None:
    nowhere = ReplicaSource(tuple(node.settings["addresses"]), 1, "x")
    node.agent.pull(PullOrder(9, 1, 1, LVOL, 1, nowhere, node.extent()))

    assert node.await_end(9).progress is Progress.FAILED


def test_a_dead_data_server_is_replaced_and_reported_as_a_restart(
    node: Any, manager: Any, wait_until: Any
) -> None:
    node.agent.export(export(node.extent()))
    boot_id = node.state().boot_id
    manager.faults["registerStorageServer"] = [errno.EEXIST]
    manager.answers["listStorageServers"] = [{"ssvrid": 1, "ip_data": node.settings["addresses"]}]
    os.kill(node.data_server_pid, signal.SIGKILL)

    wait_until(lambda: manager.told("notifyFailure"))

    assert manager.told("notifyFailure")[0]["target"] == 2
    assert manager.told("notifyFailure")[0]["reason"] == "restarted"
    wait_until(lambda: node.state() and node.state().boot_id != boot_id)
    assert node.state().exports == ()
