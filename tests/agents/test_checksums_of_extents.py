"""Storage servers tell what their extents hold, and copy single blocks from each other."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from agents.checksums import BLOCK, UNREADABLE, digest, fold
from agents.client import Fault
from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.checksum_answers import ChecksumAnswers
from agents.node.storage.disks import Disks
from agents.ondisk import GB, MIB
from agents.protocol import (
    ChecksumQuestion,
    EvictOrder,
    ExportOrder,
    ExtentRef,
    MendOrder,
    ReplicaSource,
    export_name,
)
from agents.rate_limit import RateLimit

LVOL = 50


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(data)


def test_chunks_and_blocks_are_told_and_what_is_zero_is_told_as_a_hole(node: Any) -> None:
    write(node.disk_path, GB + 2 * MIB, b"x" * BLOCK)
    write(node.disk_path, GB + MIB, bytes(MIB))
    extent = node.extent(1)

    coarse = node.agent.checksums(ChecksumQuestion(1, extent, 0, 4))
    fine = node.agent.checksums(ChecksumQuestion(1, extent, 2, 1, fine=True))

    assert coarse.digests == ("", "", digest(b"x" * BLOCK + bytes(MIB - BLOCK)), "")
    assert fine.digests == (digest(b"x" * BLOCK), *[""] * 255)
    assert (coarse.chunks, fine.chunks) == (4, 1)


def test_a_whole_gb_of_holes_is_one_answer_and_no_more_than_the_extent_is_told(node: Any) -> None:
    reply = node.agent.checksums(ChecksumQuestion(1, node.extent(), 1, 5000))

    assert reply.digests == ("",) * 1023


def test_the_rate_bounds_what_one_answer_holds(make_node: Any) -> None:
    node = make_node()
    node.settings["scrub_mib_per_s"] = 4
    node.start()
    node.registered()
    write(node.disk_path, 0, os.urandom(64 * MIB))

    reply = node.agent.checksums(ChecksumQuestion(1, node.extent(), 0, 64))

    assert 8 <= reply.chunks <= 16


def test_a_former_life_of_an_extent_is_not_told(node: Any) -> None:
    node.agent.export(ExportOrder(7, 1, LVOL, 1, "secret", (node.extent(generation=5),)))

    with pytest.raises(Fault) as refusal:
        node.agent.checksums(ChecksumQuestion(1, node.extent(generation=4), 0, 1))

    assert refusal.value.errno == errno.ESTALE


def test_blocks_that_the_disk_cannot_read_are_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(tmp_path / "agent.db")
    disks = Disks(store)
    disks.open_all([DiskConfig(str(tmp_path / "disk.img"), create_gb=3)], "c1")
    (disk,) = disks
    write(tmp_path / "disk.img", 0, b"x" * MIB)
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset <= 5 * BLOCK < offset + size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, size, offset)

    monkeypatch.setattr("os.pread", pread)
    answers = ChecksumAnswers(disks, lambda _: None, RateLimit(0))
    extent = ExtentRef(1, 1, disk.uuid, 0, 1)
    coarse = answers.answer(ChecksumQuestion(1, extent, 0, 2))
    fine = answers.answer(ChecksumQuestion(1, extent, 0, 1, fine=True))

    assert coarse.digests == (UNREADABLE, "")
    assert [n for n, one in enumerate(fine.digests) if one == UNREADABLE] == [5]
    disks.close()
    store.close()


@pytest.fixture
def mend(node: Any) -> Any:
    """Give an order to copy a block between two extents of a server, whose contents differ."""
    write(node.disk_path, 3 * BLOCK, b"good" * 1024)
    write(node.disk_path, GB + 3 * BLOCK, b"EVIL" * 1024)
    node.agent.export(ExportOrder(7, 1, LVOL, 3, "secret", (node.extent(),)))
    there = ReplicaSource(
        tuple(node.settings["addresses"]), node.settings["data_port"], export_name(100, 3, "secret")
    )
    target = node.extent(1, dextid=101)
    expected = fold([digest(b"good" * 1024)])
    return MendOrder(9, 1, LVOL, 3, there, target, 0, 3, 1, expected)


def block(node: Any) -> bytes:
    with node.disk_path.open("rb") as disk:
        disk.seek(GB + 3 * BLOCK)
        return bytes(disk.read(BLOCK))


def test_a_block_is_made_like_the_source(node: Any, mend: MendOrder) -> None:
    node.agent.mend(mend)

    assert block(node) == b"good" * 1024


def test_a_source_that_changed_meanwhile_overwrites_nothing(node: Any, mend: MendOrder) -> None:
    write(node.disk_path, 3 * BLOCK, b"NEWS" * 1024)

    with pytest.raises(Fault, match="other contents"):
        node.agent.mend(mend)

    assert block(node) == b"EVIL" * 1024


def test_an_epoch_that_is_over_mends_nothing(node: Any, mend: MendOrder) -> None:
    node.agent.export(ExportOrder(7, 1, LVOL, 4, "secret", (node.extent(),)))
    node.agent.evict(EvictOrder(8, 1, LVOL, 4))

    with pytest.raises(Fault):
        node.agent.mend(mend)

    assert block(node) == b"EVIL" * 1024
