"""A small cluster on loopback: storage processes with sparse disks, and one head."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.engines.base import Lease
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.process import spawn
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.ondisk import GB, Mark, mark_offset, unpack_mark
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    MirrorSpec,
    ReplicaReport,
    ReplicaSpec,
    ReplicaState,
    export_name,
)

VOLUME = 7
SNAPSHOT = 9
TIMEOUT = 1.0
STORAGE_WAIT = 2.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Store:
    """One storage server with one sparse disk."""

    def __init__(self, folder: Path, capacity_gb: int) -> None:
        self.capacity_gb = capacity_gb
        self.disk = folder / "disk"
        folder.mkdir()
        self.disk.touch()
        os.truncate(self.disk, capacity_gb * GB)
        self.folder = folder
        self.engine = UserspaceStorage(folder, folder, ["127.0.0.1"], free_port())
        self.engine.ensure_running()

    @property
    def pid(self) -> int:
        pid: int = json.loads((self.folder / "data.lock").read_text())["pid"]
        return pid

    def freeze(self) -> None:
        """Be out of reach, as behind a switch that starts again."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Start a new process once the killed one is gone."""
        assert spawn.await_end(str(self.folder / "data.lock"), 10)
        self.engine.ensure_running()

    def lease(self, dextid: int, offset_gb: int, size_gb: int, epoch: int = 1) -> Lease:
        """Export an extent."""
        lease = Lease(
            export_name(dextid, epoch, "secret"),
            str(self.disk),
            offset_gb * GB,
            size_gb * GB,
            mark_offset(self.capacity_gb, offset_gb),
            dextid,
            VOLUME,
            epoch,
        )
        self.engine.export([lease])
        return lease

    def replica(
        self, dextid: int, epoch: int = 1, state: ReplicaState = ReplicaState.INSYNC
    ) -> ReplicaSpec:
        name = export_name(dextid, epoch, "secret")
        return ReplicaSpec(dextid, ("127.0.0.1",), self.engine.port, name, state)

    def mark(self, offset_gb: int) -> Mark:
        with self.disk.open("rb") as disk:
            disk.seek(mark_offset(self.capacity_gb, offset_gb))
            return unpack_mark(disk.read(4096))

    def extent(self, offset_gb: int, length: int = 64 << 20) -> bytes:
        """Read the beginning of an extent past the engine."""
        with self.disk.open("rb") as disk:
            disk.seek(offset_gb * GB)
            return disk.read(length)


class Lab:
    """Mirrors 100, 101, ... whose replica on server s is extent 10 * (mirror + 1) + s."""

    def __init__(
        self,
        folder: Path,
        sizes: Sequence[int] = (1,),
        servers: int = 3,
        storage_wait: float = STORAGE_WAIT,
    ) -> None:
        self.folder = folder
        self.sizes = list(sizes)
        self.stores = [Store(folder / f"s{n}", sum(sizes) + 4) for n in range(servers)]
        self.head_folders = (folder / "h", folder / "h", folder / "dev")
        self.head = UserspaceHead(
            *self.head_folders, replica_timeout=TIMEOUT, storage_wait=storage_wait
        )
        self.device = folder / "dev" / "vol"
        self.snapshot_device = folder / "dev" / "snap"

    @property
    def head_pid(self) -> int:
        lock = self.folder / "h" / "groups" / f"{VOLUME:08x}" / "lock"
        pid: int = json.loads(lock.read_text())["pid"]
        return pid

    def offset_gb(self, mirror: int) -> int:
        return sum(self.sizes[:mirror])

    def export(self, server: int, epoch: int = 1) -> None:
        """Export this server's replicas of all mirrors."""
        for mirror, size in enumerate(self.sizes):
            offset = self.offset_gb(mirror)
            self.stores[server].lease(10 * (mirror + 1) + server, offset, size, epoch)

    def mirrors(
        self, epoch: int, servers: Sequence[int], events: int, *, dirty: bool
    ) -> tuple[MirrorSpec, ...]:
        return tuple(
            MirrorSpec(
                100 + mirror,
                size,
                events,
                dirty,
                tuple(self.stores[s].replica(10 * (mirror + 1) + s, epoch) for s in servers),
            )
            for mirror, size in enumerate(self.sizes)
        )

    def attach(
        self,
        epoch: int = 1,
        servers: Sequence[int] = (0, 1, 2),
        events: int = 0,
        *,
        dirty: bool = False,
        snapshots: Sequence[DeviceSpec] = (),
    ) -> tuple[ReplicaReport, ...]:
        """Export everywhere and attach."""
        for server in servers:
            self.export(server, epoch)
        mirrors = self.mirrors(epoch, servers, events, dirty=dirty)
        return self.head.attach(self.order(epoch, mirrors, snapshots))

    def order(
        self,
        epoch: int,
        mirrors: tuple[MirrorSpec, ...],
        snapshots: Sequence[DeviceSpec] = (),
        labels: tuple[str, ...] = ("vol", f"lvol-{VOLUME:08x}"),
    ) -> AttachOrder:
        origin = DeviceSpec(VOLUME, labels, sum(self.sizes), mirrors)
        return AttachOrder(1, 1, 1, VOLUME, epoch, (origin, *snapshots))

    def store_spec(
        self, epoch: int = 1, events: int = 0, servers: Sequence[int] = (0, 1, 2)
    ) -> DeviceSpec:
        """Export room for a snapshot's store on each server; gives the device to order."""
        size = sum(self.sizes) + 1
        replicas = []
        for server in servers:
            self.stores[server].lease(90 + server, sum(self.sizes), size, epoch)
            replicas.append(self.stores[server].replica(90 + server, epoch))
        mirror = MirrorSpec(109, size, events, dirty=False, replicas=tuple(replicas))
        return DeviceSpec(SNAPSHOT, ("snap",), size, (mirror,))

    def replicas(self) -> dict[int, ReplicaReport]:
        (group,) = self.head.groups()
        return {replica.dextid: replica for replica in group.replicas}

    def states(self) -> dict[int, ReplicaState]:
        return {dextid: replica.state for dextid, replica in self.replicas().items()}

    def wait_for(self, dextid: int, state: ReplicaState) -> None:
        wait_until(lambda: self.states().get(dextid) == state)

    def rebuild(
        self, server: int, dextid: int, replaces: int = 0, mirror: int = 0, epoch: int = 1
    ) -> None:
        replica = self.stores[server].replica(dextid, epoch, ReplicaState.SPARE)
        self.head.rebuild(VOLUME, 100 + mirror, replica, replaces)

    def wait_until_flushed(self) -> None:
        """Wait until the write-intent map says that all replicas are equal and durable."""
        path = self.folder / "h" / "groups" / f"{VOLUME:08x}" / f"intent-{VOLUME:08x}"
        wait_until(lambda: not any(path.read_bytes()[4096:]))

    def settle(self) -> None:
        """Detach in order; what is written is then in the disks' files."""
        wait_until(lambda: self.head.groups()[0].devices[0].clients == 0)
        self.head.detach(VOLUME)

    def close(self) -> None:
        """End every process, paused ones too."""
        self.head.stop()
        for store in self.stores:
            try:
                os.kill(store.pid, signal.SIGCONT)
            except (ProcessLookupError, FileNotFoundError):
                continue
            store.engine.stop()
        for log in (*self.folder.glob("h/groups/*/log"), *self.folder.glob("s*/data.log")):
            assert "Traceback" not in log.read_text(), log.read_text()
