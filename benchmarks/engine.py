"""The embedded engine beside the prototype it grew from: same disks, same load, one run.

    .venv/bin/python -m benchmarks.engine --prototype FOLDER [--seconds 3] [--rounds 3]

The load is Debian's `fio --ioengine=nbd` on the volume's unix socket. Without fio it says so and
ends; without the prototype only our own column is filled.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from agents.engines.base import Lease
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.ondisk import GB, mark_offset
from agents.protocol import (
    AttachOrder,
    DeviceSpec,
    MirrorSpec,
    ReplicaSpec,
    ReplicaState,
    export_name,
)

SERVERS = 3
PORT = 23810
WARM_GB = 1
MEMORY = Path("/dev/shm")  # noqa: S108 (file systems in memory lie here)

LOADS = {
    "4k random write, depth 16 (IOPS)": ("randwrite", "4k", 16, "write", "iops"),
    "4k random read, depth 16 (IOPS)": ("randread", "4k", 16, "read", "iops"),
    "sequential write, 1 MiB, depth 4 (MB/s)": ("write", "1m", 4, "write", "bw"),
    "sequential read, 1 MiB, depth 4 (MB/s)": ("read", "1m", 4, "read", "bw"),
}


def fio(uri: str, load: tuple[str, str, int, str, str], seconds: int) -> float:
    """Run one load on an NBD export and give its figure."""
    pattern, block, depth, side, figure = load
    command = [
        "fio",
        "--name=load",
        "--ioengine=nbd",
        f"--uri={uri}",
        f"--rw={pattern}",
        f"--bs={block}",
        f"--iodepth={depth}",
        f"--size={WARM_GB}g",
        "--time_based",
        f"--runtime={seconds}",
        "--output-format=json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    text = done.stdout[done.stdout.index("{") :]
    result = json.loads(text)["jobs"][0][side]
    return float(result["iops"]) if figure == "iops" else result["bw_bytes"] / 1e6


class Ours:
    """The product's engine."""

    name = "engine"

    def __init__(self, folder: Path, mirrors: int, size_gb: int) -> None:
        self.folder = folder
        self.mirrors = mirrors
        self.size_gb = size_gb
        self.head = UserspaceHead(folder / "h", folder / "h", folder / "dev")
        self.uri = f"nbd+unix:///?socket={folder / 'dev' / 'bench'}"
        self.stores = []
        self.epoch = 0
        for server in range(SERVERS):
            store = UserspaceStorage(
                folder / f"s{server}", folder / f"s{server}", ["127.0.0.1"], PORT + server
            )
            store.ensure_running()
            self.stores.append(store)

    def attach(self) -> float:
        """Export everything, then attach; gives the seconds of the attach alone."""
        self.epoch += 1
        capacity = self.mirrors * self.size_gb + 1
        mirrors = []
        leases: list[list[Lease]] = [[] for _ in self.stores]
        for mirror in range(self.mirrors):
            replicas = []
            for server in range(SERVERS):
                dextid = mirror * SERVERS + server + 1
                name = export_name(dextid, self.epoch, "s")
                offset = mirror * self.size_gb
                leases[server].append(
                    Lease(
                        name,
                        str(self.folder / f"disk{server}"),
                        offset * GB,
                        self.size_gb * GB,
                        mark_offset(capacity, offset),
                        dextid,
                        1,
                        self.epoch,
                    )
                )
                replicas.append(
                    ReplicaSpec(dextid, ("127.0.0.1",), PORT + server, name, ReplicaState.INSYNC)
                )
            mirrors.append(
                MirrorSpec(
                    mirror + 1, self.size_gb, self.epoch, dirty=False, replicas=tuple(replicas)
                )
            )
        for store, served in zip(self.stores, leases, strict=True):
            store.export(served)
        device = DeviceSpec(1, ("bench",), self.mirrors * self.size_gb, tuple(mirrors))
        began = time.perf_counter()
        self.head.attach(AttachOrder(1, 1, 1, 1, self.epoch, (device,)))
        return time.perf_counter() - began

    def detach(self) -> float:
        """Take it down; gives the seconds."""
        deadline = time.monotonic() + 10
        while self.head.groups()[0].devices[0].clients and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.perf_counter()
        self.head.detach(1)
        return time.perf_counter() - began

    def close(self) -> None:
        """End every process."""
        self.head.stop()
        for store in self.stores:
            store.stop()


class Prototype:
    """The prototype: one export a server, one connection a server."""

    name = "prototype"

    def __init__(self, folder: Path, mirrors: int, size_gb: int, code: Path) -> None:
        self.folder = folder
        self.code = code
        self.uri = f"nbd+unix:///vol?socket={folder / 'p' / 'nbd.sock'}"
        self.mirrors = mirrors
        self.size_gb = size_gb
        self.processes: list[subprocess.Popen[bytes]] = []
        for server in range(SERVERS):
            disk = f"d={folder}/disk{server}"
            self._run("storage.py", "127.0.0.1", str(PORT + 10 + server), disk)
        time.sleep(0.5)
        self.head: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(self.code / command[0]), *command[1:]], stdout=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def attach(self) -> float:
        """Start the head process; gives the seconds until its socket answers."""
        shutil.rmtree(self.folder / "p", ignore_errors=True)
        size = self.size_gb * GB
        spec = {
            "mirrors": [
                {
                    "size": size,
                    "legs": [
                        {
                            "id": f"m{mirror}s{server}",
                            "addr": ["127.0.0.1", PORT + 10 + server],
                            "export": "d",
                            "offset": mirror * size,
                        }
                        for server in range(SERVERS)
                    ],
                }
                for mirror in range(self.mirrors)
            ]
        }
        path = self.folder / "spec.json"
        path.write_text(json.dumps(spec))
        began = time.perf_counter()
        self.head = self._run("head.py", str(path), str(self.folder / "p"))
        while not (self.folder / "p" / "ctl.sock").exists():
            time.sleep(0.001)
        return time.perf_counter() - began

    def detach(self) -> float:
        """End the head process; gives the seconds."""
        began = time.perf_counter()
        if self.head is not None:
            self.head.send_signal(signal.SIGKILL)
            self.head.wait()
        return time.perf_counter() - began

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def engines(
    root: Path | None, mirrors: int, size_gb: int, code: Path | None
) -> Iterator[list[Any]]:
    """Make both engines, each with disks of its own."""
    made: list[Any] = []
    with tempfile.TemporaryDirectory(dir=root, prefix="vasb") as name:
        try:
            for kind in ("ours", "prototype"):
                folder = Path(name) / kind
                folder.mkdir()
                for server in range(SERVERS):
                    disk = folder / f"disk{server}"
                    disk.touch()
                    os.truncate(disk, (mirrors * size_gb + 1) * GB)
                if kind == "ours":
                    made.append(Ours(folder, mirrors, size_gb))
                elif code is not None:
                    made.append(Prototype(folder, mirrors, size_gb, code))
            yield made
        finally:
            for engine in made:
                engine.close()


def measure_loads(arguments: argparse.Namespace, table: dict[str, dict[str, float]]) -> None:
    """Run each load on each engine in turn, several rounds, and take the median."""
    with engines(arguments.root, 4, 1, arguments.prototype) as made:
        for engine in made:
            engine.attach()
            fio(engine.uri, ("write", "1m", 4, "write", "bw"), 2)
        for title, load in LOADS.items():
            figures: dict[str, list[float]] = {engine.name: [] for engine in made}
            for _ in range(arguments.rounds):
                for engine in made:
                    figure = fio(engine.uri, load, arguments.seconds)
                    figures[engine.name].append(figure)
            table[title] = {name: median(values) for name, values in figures.items()}
        for engine in made:
            engine.detach()


def measure_attach(arguments: argparse.Namespace, table: dict[str, dict[str, float]]) -> None:
    """Attach volumes of several sizes, several rounds, and take the median."""
    for mirrors, size_gb in ((1, 10), (64, 16), (100, 10)):
        with engines(arguments.root, mirrors, size_gb, arguments.prototype) as made:
            up: dict[str, list[float]] = {engine.name: [] for engine in made}
            down: dict[str, list[float]] = {engine.name: [] for engine in made}
            for _ in range(max(3, arguments.rounds)):
                for engine in made:
                    up[engine.name].append(engine.attach() * 1000)
                    down[engine.name].append(engine.detach() * 1000)
        title = f"{mirrors} x 3 replicas"
        table[f"attach of {title} (ms)"] = {name: median(values) for name, values in up.items()}
        table[f"detach of {title} (ms)"] = {"engine": median(down["engine"])}


def print_table(table: dict[str, dict[str, float]]) -> None:
    """Print figures and how ours relate to the prototype's."""
    print(f"{'':44}{'engine':>12}{'prototype':>12}{'ratio':>8}")
    for title, figures in table.items():
        other = figures.get("prototype")
        ratio = f"{figures['engine'] / other:.2f}" if other else "-"
        shown = f"{other:.0f}" if other else "-"
        print(f"{title:44}{figures['engine']:>12.0f}{shown:>12}{ratio:>8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prototype", type=Path, help="folder of the prototype's head.py")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=MEMORY, help="where the disks lie")
    parser.add_argument("--only", choices=("loads", "attach"))
    arguments = parser.parse_args()
    if shutil.which("fio") is None:
        sys.exit("skipped: fio is not installed (Debian: apt-get install fio)")
    if arguments.prototype is None or not (arguments.prototype / "head.py").exists():
        print("prototype: skipped, no --prototype FOLDER that holds its head.py")
        arguments.prototype = None
    table: dict[str, dict[str, float]] = {}
    if arguments.only != "attach":
        measure_loads(arguments, table)
    if arguments.only != "loads":
        measure_attach(arguments, table)
    print_table(table)


if __name__ == "__main__":
    main()
