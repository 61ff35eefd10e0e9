"""How fast the manager is: beside the 2010 manager's figures and what we promise. A table.

    .venv/bin/python -m benchmarks.manager [--volumes 10000]

Four stages, each with a web server of its own on the embedded defaults (SQLite, one process):
a large pool on paper (20 servers x 12 disks x 4 TB, no agents), many small volumes on a pool of
4 servers, scrapes of a large cluster in trouble, and real agents on loopback. Times are a client's
wall times over HTTP, without parsing the answer; "then" is the 2010 manager measured with agents
that answer at once.
"""

import argparse
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local import observe
from deploy.local.cluster import LocalCluster
from deploy.local.manager_processes import command
from deploy.local.place import ROOT, Place, choose

PORT = 24810
ZERO_ALL = """
from inventory import space
from inventory.models import Extent
for extent in Extent.objects.filter(status=4):
    space.certify(extent.pk, extent.generation)
"""


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line of the table."""

    what: str
    value: float
    unit: str
    goal: float
    then: str = ""

    def cells(self) -> tuple[str, ...]:
        met = "[green]met[/]" if self.value <= self.goal else "[red]missed[/]"
        return (
            self.what,
            f"{self.value:,.1f} {self.unit}",
            f"<= {self.goal:,g} {self.unit}",
            self.then,
            met,
        )


class RawClient:
    """Calls /RPC2 on one connection and keeps the answer unparsed."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=330)

    def __call__(self, method: str, **members: object) -> Any:
        (value,), _ = xmlrpc.client.loads(self.raw(method, **members))
        return value

    def raw(self, method: str, **members: object) -> bytes:
        body = xmlrpc.client.dumps(({"ver": 5, **members},), method)
        self._connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        return self._connection.getresponse().read()

    def timed(self, method: str, **members: object) -> float:
        """Milliseconds of one call; a fault is an error of the benchmark."""
        began = time.perf_counter()
        answer = self.raw(method, **members)
        took = (time.perf_counter() - began) * 1000
        if b"<fault>" in answer:
            xmlrpc.client.loads(answer)  # raises it
        return took

    def p50(self, count: int, method: str, **members: object) -> float:
        return median(self.timed(method, **members) for _ in range(count))


@contextmanager
def web(port: int) -> Iterator[Place]:
    """Serve an empty database, with neither broker nor worker."""
    with tempfile.TemporaryDirectory(prefix="vs-bench-") as home:
        place = choose(home, str(port))
        cluster = LocalCluster(place, {"DATABASE_URL": ""})
        os.environ["VASTSKY_HOME"] = home
        migrated = cluster.manage("migrate", "--verbosity", "0")
        if migrated.returncode:
            raise SystemExit(migrated.stderr)
        log = (Path(home) / "web.log").open("wb")
        server = subprocess.Popen(
            command(place, "web"), cwd=ROOT, env=cluster.environment, stdout=log, stderr=log
        )
        try:
            observe.wait(lambda: _answers(port), "the web answers")
            yield place
        finally:
            server.terminate()
            server.wait(20)
            log.close()


def _answers(port: int) -> bool:
    try:
        return bool(RawClient(port)("listEvents") == [])
    except OSError:
        return False


def fill_pool(call: RawClient, place: Place, servers: int, disks: int) -> None:
    """Register servers that exist on paper only, and call their disks zeroed."""
    for server in range(1, servers + 1):
        ssvrid = call("registerStorageServer", ip_data=[f"127.50.0.{server}"])
        for disk in range(disks):
            path, sectors = f"/paper/{server}/{disk}", str(4096 << 21)
            call("registerPhysicalDisk", ssvrid=ssvrid, local_path=path, capacity=sectors)
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", ZERO_ALL],
        cwd=ROOT,
        env={**os.environ, "VASTSKY_HOME": str(place.home), "DATABASE_URL": ""},
        check=True,
        stdout=subprocess.DEVNULL,
    )


# -- a large pool on paper ------------------------------------------------------------------------


def large_pool() -> Iterator[TableLine]:
    with web(PORT) as place:
        call = RawClient(place.port)
        fill_pool(call, place, 20, 12)
        names = (f"v{number}" for number in range(10_000))

        def create(gb: int, count: int) -> float:
            return median(
                call.timed("createLogicalVolume", lvolname=next(names), capacity=gb)
                for _ in range(count)
            )

        create(10, 3)
        yield TableLine("create 10 GB x 3, p50", create(10, 30), "ms", 105, "105 ms")
        yield TableLine("create 100 GB x 3, p50", create(100, 20), "ms", 1050, "1,050 ms")
        yield TableLine("create 1 TB x 3, p50", create(1024, 15), "ms", 40, "10,300 ms")
        big = call("listLogicalVolumes")[-1]
        lvolid = next(v["lvolid"] for v in call("listLogicalVolumes") if v["capacity"] == 1024)
        show = call.p50(30, "showLogicalVolume", lvolid=lvolid)
        yield TableLine("show 1 TB, p50", show, "ms", 15, "53 ms")
        one = call.p50(100, "listLogicalVolumes", lvolid=big["lvolid"])
        yield TableLine("list one volume, p50", one, "ms", 2, "2 ms")
        yield TableLine("listEvents, p50", call.p50(100, "listEvents"), "ms", 0.8, "0.8 ms")
        yield from _sixteen(place.port, lvolid, names)


def _sixteen(port: int, lvolid: int, names: Iterator[str]) -> Iterator[TableLine]:
    """Sixteen clients at once: creates without an error, then mixed reads."""
    wanted = [next(names) for _ in range(32)]

    def create(name: str) -> float:
        return RawClient(port).timed("createLogicalVolume", lvolname=name, capacity=1024)

    with ThreadPoolExecutor(16) as pool:
        times = sorted(pool.map(create, wanted))
    what = "create 1 TB x 3 with 16 clients, slowest, no error"
    yield TableLine(what, times[-1], "ms", 10_300, "over 1,000 ms, p95")
    reads: list[tuple[str, dict[str, object]]] = [
        ("listLogicalVolumes", {"lvolid": lvolid}),
        ("listEvents", {}),
        ("listHeadServers", {}),
        ("listStorageServers", {}),
        ("listPhysicalDisks", {}),
        ("showLogicalVolume", {"lvolid": lvolid}),
    ]
    slowest: dict[str, list[float]] = {method: [] for method, _ in reads}

    def read(seed: int) -> None:
        chance, call = random.Random(seed), RawClient(port)
        for _ in range(40):
            method, members = chance.choice(reads)
            slowest[method].append(call.timed(method, **members))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(16)))
    method, p95 = max(((m, _p95(times)) for m, times in slowest.items()), key=lambda row: row[1])
    what = f"16 clients of mixed reads, slowest call's p95 ({method})"
    yield TableLine(what, p95, "ms", 250, "over 1,000 ms")


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


# -- many small volumes ---------------------------------------------------------------------------


def many_volumes(count: int) -> Iterator[TableLine]:
    with web(PORT + 4) as place:
        call = RawClient(place.port)
        fill_pool(call, place, 4, 12)
        goals = {100: (51.0, "51-89 ms"), 1000: (1300.0, "1,300 ms"), 5000: (26000.0, "26,000 ms")}
        for number in range(1, count + 1):
            call.timed("createLogicalVolume", lvolname=f"v{number}", capacity=5)
            if number in goals:
                goal, then = goals[number]
                took = call.p50(5, "listLogicalVolumes")
                yield TableLine(f"list {number:,} volumes", took, "ms", goal, then)
        took = call.p50(5, "listLogicalVolumes")
        yield TableLine(f"list {count:,} volumes", took, "ms", 400)
        yield from _fail_a_server(call, place)


def _fail_a_server(call: RawClient, place: Place) -> Iterator[TableLine]:
    """Fail a server that holds thousands of extents, while another client goes on calling."""
    server = call("listStorageServers")[0]["ssvrid"]
    others: list[float] = []
    over = threading.Event()

    def go_on() -> None:
        other = RawClient(place.port)
        while not over.is_set():
            others.append(other.timed("listLogicalVolumes", lvolname="v1"))

    client = threading.Thread(target=go_on)
    client.start()
    took = call.timed("notifyFailure", target=2, targetid=server)
    over.set()
    client.join()
    mirrors = sum(job["kind"] == "rebuild" for job in call("vastsky.listJobs"))
    yield TableLine(f"fail a server with {mirrors:,} extents", took, "ms", 1000)
    yield TableLine("  slowest other call meanwhile", max(others), "ms", 250)


# -- a scrape -------------------------------------------------------------------------------------

SCRAPES = 10
CPU = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)


def scrapes(volumes: int) -> Iterator[TableLine]:
    """Scrape a large cluster in trouble; the web server itself tells the CPU time that it used."""
    with web(PORT + 12) as place:
        words = ["--volumes", str(volumes), "--servers", "50", "--disks", "20"]
        subprocess.run(
            [sys.executable, "benchmarks/seed.py", *words, "--disk-gb", "8000", "--trouble"],
            cwd=ROOT,
            env={**os.environ, "VASTSKY_HOME": str(place.home), "DATABASE_URL": ""},
            check=True,
        )
        _scrape(place.port)
        before, began = _scrape(place.port), time.perf_counter()
        used = max(_scrape(place.port) for _ in range(SCRAPES)) - before
        took = (time.perf_counter() - began) / SCRAPES
    what = f"scrape of {volumes:,} volumes and 1,000 disks in trouble"
    yield TableLine(f"{what}, CPU", used / SCRAPES * 1000, "ms", 300)
    yield TableLine("  and on the wall", took * 1000, "ms", 1000)


def _scrape(port: int) -> float:
    """Read /metrics once; the CPU time of the web server so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    found = CPU.search(connection.getresponse().read().decode())
    connection.close()
    if found is None:
        raise SystemExit("the web server tells no metrics")
    return float(found[1])


# -- real agents ----------------------------------------------------------------------------------

OFFLINE = 4
"""The wire's number of that priority."""
OFFLINE_SECONDS = 6
NOTICE = {
    "DATABASE_URL": "",
    "VASTSKY_RECONCILE_SECONDS": "2",
    "VASTSKY_AGENT_TIMEOUT": "2",
    "VASTSKY_SUSPECT_SECONDS": "4",
    "VASTSKY_OFFLINE_SECONDS": str(OFFLINE_SECONDS),
    "VASTSKY_GRACE_SECONDS": "600",
}


def real_agents() -> Iterator[TableLine]:
    with tempfile.TemporaryDirectory(prefix="vs-bench-") as home:
        # Sparse files: room for 1 TB in three replicas.
        cluster = LocalCluster(choose(home, str(PORT + 8), disk_gb=2048), NOTICE)
        cluster.take()
        try:
            cluster.start()
            yield from _with_agents(cluster)
        finally:
            cluster.stop()


def _with_agents(cluster: LocalCluster) -> Iterator[TableLine]:
    call = RawClient(cluster.place.port)
    observe.wait(lambda: _zeroed(call), "all disks zeroed", 120)
    call("createLogicalVolume", lvolname="small", capacity=10)
    call("createLogicalVolume", lvolname="large", capacity=1024)
    for name, count, goal, then in (("small", 9, 150.0, "7-10 ms"), ("large", 5, 2000.0, "")):
        attach, detach = [], []
        for _ in range(count):
            attach.append(call.timed("attachLogicalVolume", lvolname=name, hsvrid=1))
            detach.append(call.timed("detachLogicalVolume", lvolname=name))
        gb = "10 GB" if name == "small" else "1 TB"
        yield TableLine(f"attach {gb} through real agents, p50", median(attach), "ms", goal, then)
        yield TableLine(f"detach {gb} through real agents, p50", median(detach), "ms", goal)
    yield TableLine("delete 1 TB", call.timed("deleteLogicalVolume", lvolname="large"), "ms", 150)
    goal = OFFLINE_SECONDS + 2.0
    killed = _noticed(cluster, call, "storage-1", lambda: cluster.kill("storage-1"))
    yield TableLine(f"killed server noticed ({OFFLINE_SECONDS} s)", killed, "s", goal, "35 s")
    stop = partial(cluster.signal, "storage-2", signal.SIGSTOP)
    hung = _noticed(cluster, call, "storage-2", stop)
    yield TableLine(f"hung server noticed ({OFFLINE_SECONDS} s)", hung, "s", goal, "never")


def _zeroed(call: RawClient) -> bool:
    disks = call("listPhysicalDisks")
    return len(disks) == 8 and all(disk["available"] >= disk["capacity"] - 1 for disk in disks)


def _noticed(
    cluster: LocalCluster, call: RawClient, node: str, break_it: Callable[[], object]
) -> float:
    """Seconds from the failure of a node until its server is shown as OFFLINE."""
    addresses = list(cluster.place.node(node).addresses)
    servers = call("listStorageServers")
    (ssvrid,) = (server["ssvrid"] for server in servers if server["ip_data"] == addresses)
    break_it()
    began = time.perf_counter()
    observe.wait(
        lambda: call("listStorageServers", ssvrid=ssvrid)[0]["priority"] == OFFLINE, "noticed"
    )
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, default=10_000)
    volumes = parser.parse_args().volumes
    table = Table(title="VastSky's manager, embedded defaults")
    for heading in ("what", "now", "goal", "2010", ""):
        table.add_column(heading, justify="right" if heading in ("now", "goal") else "left")
    console = Console()
    missed = 0
    stages = (large_pool, lambda: many_volumes(volumes), lambda: scrapes(2 * volumes), real_agents)
    for stage in stages:
        for figure in stage():
            console.print(f"  {figure.what}: {figure.value:,.1f} {figure.unit}")
            table.add_row(*figure.cells())
            missed += figure.value > figure.goal
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
