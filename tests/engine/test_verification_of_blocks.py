"""Blocks are compared on all replicas of an attached mirror while no write to them is in flight."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.checksums import BLOCK, digest
from agents.engines.base import EngineError
from agents.ondisk import GB
from agents.protocol import ReplicaState, VerifyOrder
from deploy.local.nbd import NbdClient
from tests.engine.checked_load import CheckedLoad, content
from tests.engine.conftest import MakeLab
from tests.engine.lab import VOLUME, Lab

REPLICAS = [10, 11, 12]


def told(lab: Lab, count: int = 256, mirror: int = 100, **more: int | str) -> dict[int, list[str]]:
    order = VerifyOrder(1, 1, VOLUME, 1, mirror, 0, 0, count, **more)  # type: ignore[arg-type]  # of two kinds
    return {one.dextid: list(one.digests) for one in lab.head.verify(order)}


def mend(lab: Lab, block: int, source: int, expected: str) -> None:
    lab.head.verify(VerifyOrder(1, 1, VOLUME, 1, 100, 0, block, 1, source, expected))


def rot(lab: Lab, server: int, block: int, data: bytes, offset_gb: int = 0) -> None:
    """Change a block past the engine, as a disk does that forgets."""
    with lab.stores[server].disk.open("r+b") as disk:
        disk.seek(offset_gb * GB + block * BLOCK)
        disk.write(data)
        os.fsync(disk.fileno())


def test_equal_replicas_are_told_equal_and_zeros_as_holes(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(BLOCK, content(1, 1))

    digests = told(lab, 3)

    assert digests == {d: ["", digest(content(1, 1)), ""] for d in REPLICAS}


def test_a_block_that_changed_on_one_disk_is_told_and_mended_from_the_one_that_is_named(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, b"g" * BLOCK * 4)
    rot(lab, 1, 2, b"E" * BLOCK)
    good, evil = digest(b"g" * BLOCK), digest(b"E" * BLOCK)

    assert told(lab, 4) == {10: [good] * 4, 11: [good, good, evil, good], 12: [good] * 4}
    assert told(lab, 3, source=10, expected="another")[11][2] == evil
    mended = VerifyOrder(1, 1, VOLUME, 1, 100, 0, 2, 1, source=12, expected=good)
    assert {one.digests for one in lab.head.verify(mended)} == {(good,)}

    assert lab.stores[1].extent(0, 4 * BLOCK) == b"g" * BLOCK * 4
    assert set(lab.states().values()) == {ReplicaState.INSYNC}


def test_writes_in_flight_never_count_as_rot(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    loads = [CheckedLoad(lab.device, blocks=24, stride=stride) for stride in (1, 3, 7)]

    rounds = 0
    while rounds < 150 or min(load.writes for load in loads) < 150:
        digests = told(lab)
        assert digests[10] == digests[11] == digests[12]
        rounds += 1
    for load in loads:
        load.stop()

    assert [load.errors for load in loads] == [0, 0, 0]


def test_an_overwrite_waits_while_its_block_is_mended(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    good, newer = b"g" * BLOCK, b"n" * BLOCK
    with NbdClient(lab.device) as client, ThreadPoolExecutor(2) as threads:
        client.write(0, good)
        rot(lab, 1, 0, b"E" * BLOCK)
        slow = lab.stores[1].pid
        os.kill(slow, signal.SIGSTOP)
        mended = threads.submit(mend, lab, 0, 10, digest(good))
        time.sleep(0.2)
        written = threads.submit(client.write, 0, newer)
        time.sleep(0.2)
        os.kill(slow, signal.SIGCONT)
        mended.result()
        written.result()

    assert told(lab, 1) == {d: [digest(newer)] for d in REPLICAS}
    assert set(lab.states().values()) == {ReplicaState.INSYNC}


def test_a_snapshots_store_is_compared_too(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    lab.head.snapshot(VOLUME, lab.store_spec())
    rot(lab, 2, 0, b"E" * BLOCK, offset_gb=1)

    digests = told(lab, 1, mirror=109)

    assert digests[90] == digests[91] != digests[92]


def test_blocks_beyond_the_mirror_and_unknown_mirrors_are_refused(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    for order in (
        VerifyOrder(1, 1, VOLUME, 1, 100, 1024, 0, 1),
        VerifyOrder(1, 1, VOLUME, 1, 100, 0, 0, 257),
        VerifyOrder(1, 1, VOLUME, 1, 555, 0, 0, 1),
    ):
        with pytest.raises(EngineError):
            lab.head.verify(order)
