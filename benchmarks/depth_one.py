"""Where the time of a write at depth 1 goes, and below what nobody gets on this machine.

    .venv/bin/python -m benchmarks.depth_one [--seconds 5] [--rounds 3]

One 4k write at a time to a volume of three replicas: the time of each beside that of QEMU's quorum
and of one bare nbdkit, and what it costs the processor, of the volume's process and of all three
data servers, in the program (user) and in the kernel (system).

The floor is the same way with nothing in it: a process that receives 4 KiB from a unix socket,
sends them to three others by TCP on loopback, which write them to a file in memory, and passes on
their answers: no NBD, no event loop, nothing parsed, checked or remembered, and a client that does
no more. What it takes are system calls and the switches between processes, which are there in any
language.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from agents.ondisk import GB
from benchmarks.engine import MEMORY, SERVERS, WARM_GB, fio
from benchmarks.quorum import TOOLS, Engine, served

BLOCK = 4096
HEAD = 28
ANSWER = bytes(16)
TICKS = os.sysconf("SC_CLK_TCK")
WRITE = ("randwrite", "4k", 1, "write", "iops")

fork = get_context("fork")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if missing := [package for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        sys.exit(f"skipped: not installed (Debian: apt-get install {' '.join(missing)})")
    took: dict[str, list[float]] = {"floor": []}
    costs: list[list[float]] = []
    with served(MEMORY) as servers:
        engine = next(server for server in servers if isinstance(server, Engine))
        for server in servers:  # once over all of it, so that none pays for memory that is new
            fio(server.uri, ("write", "1m", 4, "write", "bw"), 3)
        for _ in range(arguments.rounds):
            took["floor"].append(_floor(arguments.seconds))
            for server in servers:
                before = _spent(engine)
                rate = fio(server.uri, WRITE, arguments.seconds)
                took.setdefault(server.name, []).append(1e6 / rate)
                if server is engine:
                    count = rate * arguments.seconds / 1e6
                    pairs = zip(_spent(engine), before, strict=True)
                    costs.append([(now - then) / count for now, then in pairs])
    print("4k write, depth 1, microseconds each")
    for name, each in took.items():
        print(f"{name:28}{median(each):8.0f}")
    print("of the processor, each")
    names = ("volume, user", "volume, system", "data servers, user", "data servers, system")
    for name, spent in zip(names, zip(*costs, strict=True), strict=True):
        print(f"{name:28}{median(spent):8.0f}")


def _spent(engine: Engine) -> list[float]:
    """Tell the processor's seconds of the volume's process and of all data servers."""
    (lock,) = engine.folder.glob("h/groups/*/lock")
    servers = [engine.folder / f"s{number}" / "data.lock" for number in range(SERVERS)]
    head, *data = (_seconds(json.loads(path.read_text())["pid"]) for path in (lock, *servers))
    return [*head, sum(user for user, _ in data), sum(system for _, system in data)]


def _seconds(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def _floor(seconds: float) -> float:
    """Write through a process that only passes on; the microseconds of a write."""
    with contextlib.ExitStack() as end:
        folder = Path(end.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        ends = [end.enter_context(_data_server(folder / str(n))) for n in range(SERVERS)]
        ours, its = (end.enter_context(each) for each in socket.socketpair())
        end.enter_context(_running(_pass_on, its, ends))
        message = bytearray(os.urandom(HEAD + BLOCK))
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            ours.sendall(message)
            ours.recv(len(ANSWER))
            count += 1
        took = time.perf_counter() - began
    return took / count * 1e6


@contextlib.contextmanager
def _data_server(path: Path) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client, server, _running(_serve, server, path):
        yield client


@contextlib.contextmanager
def _running(work: Callable[..., None], *words: Any) -> Iterator[None]:
    process = fork.Process(target=work, args=words, daemon=True)
    process.start()
    yield
    process.kill()
    process.join()


def _serve(sock: socket.socket, path: Path) -> None:
    buffer = memoryview(bytearray(HEAD + BLOCK))
    with path.open("wb", buffering=0) as file:
        file.truncate(WARM_GB * GB)
        while sock.recv_into(buffer, 0, socket.MSG_WAITALL):
            place = random.randrange(WARM_GB * GB // BLOCK) * BLOCK
            os.pwrite(file.fileno(), buffer[HEAD:], place)
            sock.send(ANSWER)


def _pass_on(client: socket.socket, servers: list[socket.socket]) -> None:
    buffer = memoryview(bytearray(HEAD + BLOCK))
    while client.recv_into(buffer, 0, socket.MSG_WAITALL):
        for server in servers:
            server.send(buffer)
        for server in servers:
            server.recv(len(ANSWER), socket.MSG_WAITALL)
        client.send(ANSWER)


if __name__ == "__main__":
    main()
