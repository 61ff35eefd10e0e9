"""Disks that lose what was written: each costs a mirror one replica, and its clients nothing."""

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.engines.base import Lease
from agents.engines.userspace.loop.coroutines import LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.nbd.server import Listener
from agents.engines.userspace.process import dialogue, spawn
from agents.engines.userspace.storage.data_server_process import DataServer
from agents.engines.userspace.storage.served_disk import ServedDisk
from agents.protocol import ReplicaState
from deploy.local.nbd import FUA, NbdClient
from tests.engine.conftest import MakeLab
from tests.engine.lab import Lab, Store

LONG = 60.0
MIB = 1 << 20


class FailingDisk:
    """A disk served in this process, whose next sync fails; the kernel tells it once.

    The server's look at its disks comes before the answer is out, as it may on a busy machine.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self._reactor = Reactor()
        self._server = DataServer(self._reactor, "the one that serves here")
        self._fdatasync, self._sync = os.fdatasync, ServedDisk._sync
        monkeypatch.setattr(os, "fdatasync", self._fail_once)
        look = self._look_in_between
        monkeypatch.setattr(ServedDisk, "_sync", lambda disk: look(disk))  # noqa: PLW0108 - of ours

    @contextmanager
    def serving(self, store: Store, lease: Lease) -> Iterator[None]:
        """Serve a store's lease, instead of its own process."""
        store.engine.stop()
        assert spawn.await_end(str(store.folder / "data.lock"), 10)
        Listener(self._reactor, ("127.0.0.1", store.engine.port), self._server.exports)
        LoopTask(self._server.perform(dialogue.ServeLeases((lease,))))
        thread = threading.Thread(target=self._reactor.run)
        thread.start()
        try:
            yield
        finally:
            self._reactor.soon.append(self._reactor.stop)
            thread.join()

    def _fail_once(self, descriptor: int) -> None:
        if not self.fails:
            self._fdatasync(descriptor)
            return
        self.fails = False
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _look_in_between(self, disk: ServedDisk) -> None:
        try:
            self._sync(disk)
        except OSError:
            looked = threading.Event()
            self._reactor.soon += [self._server._check_disks, looked.set]
            looked.wait(5)
            raise


def attach(lab: Lab) -> None:
    for server in (1, 2):
        lab.export(server)
    mirrors = lab.mirrors(1, (0, 1, 2), 0, dirty=False)
    lab.head.attach(lab.order(1, mirrors))


def test_a_head_that_hears_nothing_of_a_lost_disk_but_its_end_goes_on_with_the_others(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, disk = make_lab(storage_wait=LONG), FailingDisk(monkeypatch)
    lease = lab.stores[0].lease(10, 0, 1)
    with disk.serving(lab.stores[0], lease):
        attach(lab)
        with NbdClient(lab.device) as client:
            disk.fails = True

            client.write(0, b"y" * 4096, FUA)

            assert client.read(0, 4096) == b"y" * 4096
        assert lab.states()[10] == ReplicaState.FAULTY
        assert lab.stores[1].extent(0, 1) == lab.stores[2].extent(0, 1) == b"y"


def test_a_head_goes_on_with_the_others_where_another_disk_is_put_in_the_place_of_one(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    store, engine = lab.stores[0], lab.stores[0].engine
    with NbdClient(lab.device) as client:
        client.write(0, b"y" * 4096)
        other = store.disk.with_name("other")
        other.touch()
        os.truncate(other, store.disk.stat().st_size)
        other.rename(store.disk)

        # An order for the same range of the other disk drops what is there.
        engine.drop([use.lease.name for use in engine.leases()])

        assert client.read(0, 4096) == b"y" * 4096
        client.write(0, b"z" * 4096)
        lab.wait_for(10, ReplicaState.FAULTY)
        engine.export([store.lease(10, 0, 1)])
        with NbdClient(("127.0.0.1", engine.port), store.lease(10, 0, 1).name) as there:
            assert there.read(0, 4096) == bytes(4096)


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[int]:
    """A block device, by its number."""
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, 16 * MIB)
    made = subprocess.run(
        ["losetup", "--find", "--show", file], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no block device can be made here: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield Path(path).stat().st_rdev
    subprocess.run(["losetup", "--detach", path], check=True)


def test_a_block_device_is_served_on_where_its_node_was_made_anew(
    tmp_path: Path, loop_device: int
) -> None:
    node, reactor = tmp_path / "node", Reactor()
    os.mknod(node, stat.S_IFBLK | 0o600, loop_device)
    disk = ServedDisk(reactor, str(node))
    try:
        node.unlink()
        os.mknod(node, stat.S_IFBLK | 0o600, loop_device)

        disk.check()

        assert disk.error == 0
        node.unlink()
        disk.check()
        assert disk.error == errno.ENOENT
    finally:
        disk.close()
