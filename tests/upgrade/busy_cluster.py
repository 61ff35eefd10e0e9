"""The life that a fixture's cluster leads until its power is cut, all of it at one moment.

Afterwards its home is as the power cut left it, and a ledger tells what has to be found there.
"""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from deploy.local import observe
from deploy.local.place import DISKS, HEADS, STORAGES
from tests.upgrade.cluster import Cluster, Device

MIB = 1 << 20
PAGE = 4096
PACE_MIB_PER_S = 1
DENSE_MIB = 8
"""Of data where work on it has to be under way at the end: at that pace, as many seconds."""
MINUTES = 5
"""Of maintenance: more than what follows it takes."""
INSYNC, FAULTY = 2, 4
OFFLINE = 4
BINDING = 1

Places = list[tuple[int, int]]
"""Offsets in a volume with lengths, in bytes, of whole pages."""


class WrittenPages:
    """What a volume holds wherever it was written; each page tells whose and which one it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mib: dict[int, bytearray] = defaultdict(partial(bytearray, MIB))
        self._version = 0

    def write(self, device: Device, places: Places) -> None:
        """Write new content."""
        self._version += 1
        for start, length in places:
            pages = [self._page(offset) for offset in range(start, start + length, PAGE)]
            device.write(start, b"".join(pages))
            for offset, page in zip(range(start, start + length, PAGE), pages, strict=True):
                self._mib[offset // MIB][offset % MIB : offset % MIB + PAGE] = page

    def _page(self, offset: int) -> bytes:
        line = f"{self._name} v{self._version} at {offset:x}".ljust(63, ".") + "\n"
        return line.encode() * (PAGE // len(line))

    def digests(self) -> dict[str, str]:
        """Tell the SHA-256 of each whole MiB that something was written to, by its offset."""
        return {
            str(mib * MIB): hashlib.sha256(content).hexdigest()
            for mib, content in sorted(self._mib.items())
        }


def scattered(capacity_gb: int, count: int, start: int = 0) -> Places:
    """Choose pages and runs of pages all over a volume, some across the border of two MiB."""
    stride = (capacity_gb << 30) // count // PAGE
    return [((n * stride + start + 251 * n) * PAGE, PAGE * (1 + n % 5)) for n in range(count)]


class Life:
    """A running cluster, and the ledger of what was done to it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.call = cluster.call
        self.content: dict[str, WrittenPages] = {}
        self.volumes: dict[str, dict[str, Any]] = {}

    def create(self, name: str, capacity: int, redundancy: int) -> None:
        self.cluster.create(name, capacity, redundancy)
        self.content[name] = WrittenPages(name)
        self.volumes[name] = {"capacity": capacity, "redundancy": redundancy}

    def write(self, name: str, places: Places) -> None:
        with self.cluster.open(name) as device:
            self.content[name].write(device, places)

    def snapshot(self, origin: str, name: str) -> None:
        self.call("createSnapshot", origin_lvolname=origin, snapshot_lvolname=name)
        self.volumes[name] = {
            **self.volumes[origin],
            "snapshot_of": origin,
            "digests": self.content[origin].digests(),
        }

    def ledger(self) -> dict[str, dict[str, Any]]:
        """Tell of every volume what it holds."""
        digests = {name: {"digests": self.content[name].digests()} for name in self.content}
        return {name: {**about, **digests.get(name, {})} for name, about in self.volumes.items()}

    def jobs(self, kind: str) -> list[dict[str, Any]]:
        return [job for job in self.call("vastsky.listJobs") if kind == job["kind"]]

    def priority(self, ssvrid: int) -> int:
        return int(self.call("listStorageServers", ssvrid=ssvrid)[0]["priority"])

    def statuses(self) -> set[int]:
        return {r["mirror_status"] for name in self.volumes for r in self.replicas(name)}

    def places(self, name: str) -> dict[int, int]:
        """Tell the disks of a volume's good replicas, by their servers."""
        good = [r["lvolspec"] for r in self.replicas(name) if r["mirror_status"] == INSYNC]
        return {place["ssvrid"]: place["pdskid"] for place in good}

    def replicas(self, name: str) -> list[dict[str, Any]]:
        return list(observe.nodes(self.call("showLogicalVolume", lvolname=name), observe.DEXT))


def live(cluster: Cluster) -> dict[str, Any]:
    """Lead the life of a running cluster, and cut its power; what has to be found in it."""
    life = Life(cluster)
    whole = (HEADS, STORAGES, STORAGES * DISKS)
    observe.wait(lambda: observe.present(life.call) >= whole, "all servers and disks")
    cluster.await_all_space_zeroed()
    cluster.slow_down(PACE_MIB_PER_S)
    cluster.await_all_up()
    token = cluster.manage("token", "create", "older", "--role", "operator").strip()
    _settle_in(life)
    _lose_a_server(life)
    return {"token": token, **_be_cut_off_at_work(life)}


def _settle_in(life: Life) -> None:
    """Volumes of several shapes, most of them detached in order; one with two snapshots."""
    life.create("books", 12, 3)
    life.cluster.attach("books")
    life.write("books", scattered(12, 24))
    life.snapshot("books", "books-monday")
    life.write("books", scattered(12, 8) + scattered(12, 8, start=3000))
    life.snapshot("books", "books-tuesday")
    life.write("books", scattered(12, 6))
    life.create("blank", 2, 2)
    for name, capacity, redundancy in (("archive", 4, 3), ("leaving", 2, 4), ("between", 2, 2)):
        life.create(name, capacity, redundancy)
        life.cluster.attach(name)
        life.write(name, scattered(capacity, 8 * redundancy))
        life.cluster.detach(name)


def _lose_a_server(life: Life) -> None:
    """A server in maintenance loses its power: mirrors are degraded and wait for its return."""
    ssvrid = min(life.places("archive").keys() & life.places("books").keys())
    (server,) = life.call("listStorageServers", ssvrid=ssvrid)
    nodes = {node.addresses: node.name for node in life.cluster.place.nodes()}
    life.call("vastsky.maintenance", ssvrid=ssvrid, minutes=MINUTES)
    life.cluster.power("off", nodes[tuple(server["ip_data"])])
    observe.wait(lambda: life.priority(ssvrid) == OFFLINE, "the lost server is out")
    observe.wait(lambda: FAULTY in life.statuses(), "its replicas are faulty")
    life.write("books", scattered(12, 12, start=7000))
    for name in ("moving", "pulled"):
        life.create(name, 2, 2)
        life.cluster.attach(name)
        life.write(name, [(700 * MIB + 3 * PAGE, DENSE_MIB * MIB)])
    life.cluster.detach("pulled")


def _be_cut_off_at_work(life: Life) -> dict[str, Any]:
    """Shreds, copies by head and storage server, an attach, a paused evacuation: all are open."""
    life.cluster.delete("leaving")
    del life.volumes["leaving"], life.content["leaving"]
    server = min(life.places("moving").keys() & life.places("pulled").keys())
    for disk in {life.places(name)[server] for name in ("moving", "pulled")}:
        life.call("vastsky.evacuate", pdskid=disk)
    _evacuate_paused(life, next(d for s, d in life.places("archive").items() if s != server))
    observe.wait(lambda: _is_at_work(life), "copying in both ways, shreds, and faulty replicas")
    life.cluster.freeze_agent("head-1")
    with ThreadPoolExecutor(1) as threads:
        attaching = threads.submit(life.cluster.attach, "between")
        observe.wait(lambda: _is_attaching(life, "between"), "an attach under way")
        assert _is_at_work(life), "work ended too early"
        ledger = {"open": life.call("vastsky.listJobs"), "volumes": life.ledger()}
        life.cluster.cut_power()
        with suppress(OSError):
            attaching.result()
    return ledger


def _evacuate_paused(life: Life, disk: int) -> None:
    """Ask for an evacuation, and let it rest before anything of it is under way."""
    life.cluster.kill("worker")
    life.call("vastsky.pauseJob", eventid=life.call("vastsky.evacuate", pdskid=disk))


def _is_at_work(life: Life) -> bool:
    """Tell it by `step` of listJobs, as 9b700b5 wrote it or as releases do that came later."""
    copying = [job for job in life.jobs("rebuild") if 0 < job["done_mib"] < job["total_mib"]]
    steps = [job["step"] for job in copying]
    by_head = any(step.startswith(("head:", "copying by the head")) for step in steps)
    by_storage = any(step.startswith(("pull:", "copying by the replica's own")) for step in steps)
    return by_head and by_storage and bool(life.jobs("shred")) and FAULTY in life.statuses()


def _is_attaching(life: Life, name: str) -> bool:
    return bool(life.cluster.volumes()[name]["bind_event"] == BINDING)
