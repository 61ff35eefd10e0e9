"""The embedded engine beside what Linux has: QEMU's quorum, and one bare NBD server.

    .venv/bin/python -m benchmarks.quorum [--seconds 5] [--rounds 3]

Three servers each on one machine: ours with a head process in front of them, nbdkit's with
qemu-nbd's quorum driver (writes to all three, reads from one); and one nbdkit alone, which is what
NBD costs without any mirror. All disks lie in memory; the load is Debian's
`fio --ioengine=nbd`, on each of the three in turn, several rounds, medians. What is missing of fio,
qemu-nbd and nbdkit is named, and the benchmark ends.
"""

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Protocol

from agents.ondisk import GB
from benchmarks.engine import LOADS, MEMORY, SERVERS, WARM_GB, Ours, fio

PORT = 23830
TOOLS = {"fio": "fio", "qemu-nbd": "qemu-utils", "nbdkit": "nbdkit"}
SHALLOW = {
    "4k random write, depth 1 (IOPS)": ("randwrite", "4k", 1, "write", "iops"),
    "4k random read, depth 1 (IOPS)": ("randread", "4k", 1, "read", "iops"),
}


class ReplicaServer(Protocol):
    """Something that serves NBD."""

    name: str
    uri: str

    def close(self) -> None:
        """End every process."""


class Bare:
    """One nbdkit on loopback."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.name = name
        self.uri = f"nbd://127.0.0.1:{port}"
        disk = folder / f"{name}-{port}"
        with disk.open("wb") as file:
            file.truncate(WARM_GB * GB)
        where = ["--ipaddr", "127.0.0.1", "--port", str(port)]
        # As from a block device: to look for holes in a file in memory takes milliseconds a read.
        command = ["nbdkit", "--foreground", *where, "--filter=noextents", "file", str(disk)]
        self._process = subprocess.Popen(command)
        _await(port)

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()


class Quorum:
    """QEMU's quorum over three nbdkits."""

    name = "quorum"

    def __init__(self, folder: Path) -> None:
        ports = [PORT + 1 + server for server in range(SERVERS)]
        self._children = [Bare("child", folder, port) for port in ports]
        children = "".join(
            f",children.{n}.driver=nbd,children.{n}.server.type=inet"
            f",children.{n}.server.host=127.0.0.1,children.{n}.server.port={port}"
            for n, port in enumerate(ports)
        )
        image = f"driver=quorum,vote-threshold=2,read-pattern=fifo{children}"
        place = folder / "quorum"
        self.uri = f"nbd+unix:///?socket={place}"
        command = ["qemu-nbd", "--image-opts", image, "--socket", str(place), "--persistent"]
        self._process = subprocess.Popen([*command, "--shared=4", "--cache=none", "--aio=threads"])
        while not place.exists():
            time.sleep(0.01)

    def close(self) -> None:
        """End every process."""
        self._process.kill()
        self._process.wait()
        for child in self._children:
            child.close()


class Engine(Ours):
    """The product's engine, attached."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        for server in range(SERVERS):
            with (folder / f"disk{server}").open("wb") as disk:
                disk.truncate((WARM_GB + 1) * GB)
        super().__init__(folder, 1, WARM_GB)
        self.attach()


def _await(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)


@contextlib.contextmanager
def served(root: Path) -> Iterator[list[ReplicaServer]]:
    """Serve all three, each with disks of its own."""
    with (
        tempfile.TemporaryDirectory(dir=root, prefix="vasq") as name,
        contextlib.ExitStack() as end,
    ):
        made: list[ReplicaServer] = []
        for make in (
            lambda: Engine(Path(name) / "ours"),
            lambda: Quorum(Path(name)),
            lambda: Bare("bare", Path(name), PORT),
        ):
            made.append(make())
            end.callback(made[-1].close)
        yield made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=MEMORY, help="where the disks lie")
    arguments = parser.parse_args()
    if missing := [package for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        sys.exit(f"skipped: not installed (Debian: apt-get install {' '.join(missing)})")
    print(f"{'':44}{'engine':>10}{'quorum':>10}{'bare':>10}{'engine : quorum':>18}")
    with served(arguments.root) as servers:
        for server in servers:  # once over all of it, so that no load pays for memory that is new
            fio(server.uri, ("write", "1m", 4, "write", "bw"), 3)
        for title, load in {**LOADS, **SHALLOW}.items():
            figures: dict[str, list[float]] = {server.name: [] for server in servers}
            for _ in range(arguments.rounds):
                for server in servers:
                    figures[server.name].append(fio(server.uri, load, arguments.seconds))
            engine, quorum, bare = (median(values) for values in figures.values())
            print(f"{title:44}{engine:>10.0f}{quorum:>10.0f}{bare:>10.0f}{engine / quorum:>18.2f}")


if __name__ == "__main__":
    main()
