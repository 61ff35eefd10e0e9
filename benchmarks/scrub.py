"""How fast replicas are compared, and what that costs a client: with and without, in one run.

    .venv/bin/python -m benchmarks.scrub [--seconds 5] [--rounds 3]

A real cluster on this machine, a volume in three replicas with 512 MiB in it, and Debian's fio on
its socket. For each bound of the agents (`scrub_mib_per_s`; 0 is none) it measures how long a pass
takes while nobody uses the volume, and fio's figures in turns with and without a scrub beside it.
"""

import argparse
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from xmlrpc.client import Fault

from rich.console import Console
from rich.table import Table

from benchmarks.engine import fio
from deploy.local import observe
from deploy.local.cluster import LocalCluster
from deploy.local.nbd import NbdClient
from deploy.local.place import choose
from deploy.local.rpc_calls import RpcCalls

PORT = 24910
RATES = (16, 64, 0)
FILL_MIB = 512
NAME = "bench"
LOADS = {
    "4k random read (IOPS)": ("randread", "4k", 16, "read", "iops"),
    "4k random write (IOPS)": ("randwrite", "4k", 16, "write", "iops"),
}


class Scrubbing:
    """Begins a pass whenever the last one is over, until it is told to stop."""

    def __init__(self, call: RpcCalls) -> None:
        self._call = call
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for job in self._call("vastsky.listJobs"):
            with suppress(Fault):
                self._call("vastsky.cancelJob", eventid=job["eventid"])

    def _run(self) -> None:
        while not self._over.wait(0.2):
            with suppress(Fault):  # the last one is still under way
                self._call("vastsky.scrubVolume", lvolname=NAME)


def seconds_of_a_pass(call: RpcCalls) -> float:
    """Scrub once, with nobody beside it."""
    began = time.monotonic()
    job = call("vastsky.scrubVolume", lvolname=NAME)
    while job in {one["eventid"] for one in call("vastsky.listJobs")}:
        time.sleep(0.05)
    return time.monotonic() - began


def measure(rate: int, seconds: int, rounds: int) -> list[str]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as home:
        cluster = LocalCluster(choose(home, str(PORT)), {}, {"scrub_mib_per_s": rate})
        cluster.take()
        try:
            cluster.start()
            return _measure(cluster, rate, seconds, rounds)
        finally:
            cluster.stop()


def _measure(cluster: LocalCluster, rate: int, seconds: int, rounds: int) -> list[str]:
    call = RpcCalls(cluster.place.rpc_url)
    wanted = (1, 4, 8)
    observe.wait(lambda: observe.present(call) >= wanted, "all servers and disks")
    observe.wait(lambda: len(set(observe.space(call))) == 1, "all space zeroed")
    call("createLogicalVolume", lvolname=NAME, capacity=2)
    call("attachLogicalVolume", lvolname=NAME, hsvrid=call("listHeadServers")[0]["hsvrid"])
    device = cluster.place.links / NAME
    with NbdClient(device) as client:
        for chunk in range(FILL_MIB):
            client.write(chunk << 20, bytes([chunk % 255 + 1]) * (1 << 20))
        client.flush()
    cells = [f"{rate or 'none'}", f"{FILL_MIB / seconds_of_a_pass(call):.0f}"]
    for load in LOADS.values():
        cells += _beside(call, device, load, seconds, rounds)
    return cells


def _beside(
    call: RpcCalls, device: Path, load: tuple[str, str, int, str, str], seconds: int, rounds: int
) -> list[str]:
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(fio(f"nbd+unix:///?socket={device}", load, seconds))
        with Scrubbing(call):
            beside.append(fio(f"nbd+unix:///?socket={device}", load, seconds))
    share = median(beside) / median(alone)
    return [f"{median(alone):,.0f}", f"{median(beside):,.0f}", f"{share:.2f}"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = Table(title="Scrub: MiB/s of a replica, and a client beside it")
    for column in ("bound MiB/s", "idle MiB/s"):
        table.add_column(column, justify="right")
    for load in LOADS:
        for column in (load, "with scrub", "ratio"):
            table.add_column(column, justify="right")
    for rate in RATES:
        table.add_row(*measure(rate, options.seconds, options.rounds))
    Console(width=110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
