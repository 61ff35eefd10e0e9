"""Reading every disk in the background, and zeroing what refuses to be zeroed."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.node.config import DiskConfig
from agents.node.fences import Fences
from agents.node.journal import Journal
from agents.node.orders import Orders
from agents.node.state_store import StateStore
from agents.node.storage import blocks
from agents.node.storage.labelled_disk import OpenDisk
from agents.node.storage.patrol import Patrol
from agents.node.storage.recognition import open_disk
from agents.node.storage.zeroing import shred
from agents.ondisk import GB, MIB
from agents.protocol import ExtentRef, Progress, Report, ShredOrder
from agents.rate_limit import RateLimit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state" / "agent.db")
    yield store
    store.close()


@pytest.fixture
def disk(tmp_path: Path, store: StateStore) -> Iterator[OpenDisk]:
    config = DiskConfig(str(tmp_path / "disk.img"), create_gb=5)
    disk = open_disk(config, "c1", store)
    yield disk
    os.close(disk.fd)


def breaks_at(broken: int, real: Any) -> Any:
    """A system call that fails where the medium is broken."""

    def call(fd: int, what: Any, offset: int) -> Any:
        if offset // GB == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, what, offset)

    return call


def patrol_once(disk: OpenDisk) -> list[list[int]]:
    bad: list[list[int]] = []
    Patrol([disk], lambda _, found: bad.append(found), RateLimit(0)).read_disk(disk)
    return bad


def test_a_patrol_names_the_gb_that_cannot_be_read(
    disk: OpenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in (1, 2):
        os.pwrite(disk.fd, b"data", block * GB + 5 * MIB)
    assert patrol_once(disk) == []

    monkeypatch.setattr("os.pread", breaks_at(2, os.pread))
    assert patrol_once(disk) == [[2]]


def run_shred(disk: OpenDisk, store: StateStore, extent: ExtentRef) -> Report:
    """Shred as an order of the journal; its end."""
    orders = Orders(Journal(store), Fences(store))

    def work(task: Any) -> tuple[()]:
        shred(disk, extent, task, RateLimit(0))
        return ()

    return orders.take("shred", ShredOrder(1, 1, 1, extent), work, wait=30)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSPC])
def test_where_holes_cannot_be_punched_zeros_are_written(
    disk: OpenDisk, store: StateStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    junk = os.urandom(3 * MIB)
    os.pwrite(disk.fd, junk, 2 * GB - MIB)

    def unsupported(*_: int) -> None:
        raise OSError(code, "no holes here")

    monkeypatch.setattr(blocks, "_punch", unsupported)
    report = run_shred(disk, store, ExtentRef(9, 1, disk.uuid, 2, 1))

    assert report.progress is Progress.DONE
    assert os.pread(disk.fd, MIB, 2 * GB - MIB) == junk[:MIB]
    assert os.pread(disk.fd, 2 * MIB, 2 * GB) == bytes(2 * MIB)


def test_a_gb_that_cannot_be_zeroed_fails_the_shred_and_the_rest_is_zeroed(
    disk: OpenDisk, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in (1, 2, 3):
        os.pwrite(disk.fd, b"junk", block * GB)
    real = blocks.clear

    def clear(fd: int, offset: int, length: int) -> None:
        if offset // GB == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd, offset, length)

    monkeypatch.setattr("agents.node.storage.zeroing.clear", clear)
    report = run_shred(disk, store, ExtentRef(9, 1, disk.uuid, 1, 3))

    assert (report.errno, report.message) == (errno.EIO, "GB [2] cannot be zeroed")
    assert os.pread(disk.fd, 4, 3 * GB) == bytes(4)


def test_a_shred_that_finds_no_room_fails_and_blames_no_block(
    disk: OpenDisk, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.pwrite(disk.fd, b"secret", 1 * GB)

    def clear(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("agents.node.storage.zeroing.clear", clear)
    report = run_shred(disk, store, ExtentRef(9, 1, disk.uuid, 1, 1))

    assert (report.progress, report.errno) == (Progress.FAILED, errno.ENOSPC)


def test_what_pretends_to_be_zeroed_is_found_out(
    disk: OpenDisk, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.pwrite(disk.fd, b"secret", 1 * GB)
    monkeypatch.setattr("agents.node.storage.zeroing.clear", lambda *_: None)

    report = run_shred(disk, store, ExtentRef(9, 1, disk.uuid, 1, 1))
    assert (report.progress, report.errno) == (Progress.FAILED, errno.EIO)
