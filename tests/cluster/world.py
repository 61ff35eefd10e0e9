"""The real cluster as its users, and its bad luck, see it."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from xmlrpc.client import Fault

from agents.client import AgentUnreachable, HeadAgent, StorageAgent
from deploy.local import observe, processes
from deploy.local.cluster import LocalCluster
from deploy.local.ledger import Ledger, spread
from deploy.local.nbd import NbdClient
from deploy.local.place import DISKS, STORAGES
from deploy.local.rpc_calls import RpcCalls


class World:
    """The cluster as its users and its bad luck see it."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.place = cluster.place
        self.call = RpcCalls(cluster.place.rpc_url)
        self.background = ThreadPoolExecutor(8)

    def open(self, name: str) -> NbdClient:
        return NbdClient(self.place.links / name)

    def create(self, name: str, *, capacity: int = 4, redundancy: int = 3) -> int:
        members = {"lvolname": name, "capacity": capacity, "redundancy": redundancy}
        return int(self.call("createLogicalVolume", **members))

    def attach(self, name: str) -> None:
        self.call("attachLogicalVolume", lvolname=name, hsvrid=self.head())

    def detach(self, name: str) -> None:
        self.call("detachLogicalVolume", lvolname=name)

    def delete(self, name: str) -> None:
        self.call("deleteLogicalVolume", lvolname=name)

    def head(self) -> int:
        return int(self.call("listHeadServers")[0]["hsvrid"])

    def kill_head_process(self, name: str) -> None:
        """Kill the process of an attached group; its agent brings it back."""
        (volume,) = self.call("listLogicalVolumes", lvolname=name)
        for process in processes.marked(self.place.home, "head-1"):
            with suppress(OSError):
                comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
                if comm == f"vas-{volume['lvolid']:08x}":
                    process.send(signal.SIGKILL)

    def state(self, name: str) -> tuple[int, int]:
        """Tell bind_status and bind_event."""
        (volume,) = self.call("listLogicalVolumes", lvolname=name)
        return volume["bind_status"], volume["bind_event"]

    def fill(self, name: str, blocks: int = 32) -> Ledger:
        ledger = Ledger()
        with self.open(name) as device:
            for offset in spread(device.size, blocks):
                ledger.write(device, offset)
        return ledger

    def verify(self, name: str, ledger: Ledger) -> bool:
        """Tell whether every block of the ledger is what was written."""
        with self.open(name) as device:
            return not ledger.verify(device)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
        observe.wait(condition, what, seconds)

    def settle(self, name: str) -> tuple[int, int]:
        """Wait until nothing is under way with a volume's attachment."""
        self.wait(lambda: self.state(name)[1] == 0, f"{name} at rest")
        return self.state(name)

    def healed(self, name: str) -> bool:
        """Tell whether every mirror has its three good replicas, and none too many."""
        mirrors = observe.mirrors(self.call, name)
        replicas = [replica for mirror in mirrors for replica in mirror["components"]]
        good = [replica for replica in replicas if replica["mirror_status"] == observe.INSYNC]
        return len(good) == len(replicas) == 3 * len(mirrors)

    def zeroed(self) -> bool:
        """Tell whether all space that no volume has can be allocated."""
        free, total = observe.space(self.call)
        return free == total

    def up(self) -> bool:
        return observe.present(self.call) >= (self.place.heads, STORAGES, STORAGES * DISKS)

    def repair(self) -> None:
        """Switch everything on again."""
        for part in ("broker", "web", "worker", "beat"):
            if not self.cluster.runs(part):
                self.cluster.launch(part)
        for node in self.cluster.fallen():
            self.cluster.launch(node)
        self.wait(self._answers, "the web answers")
        self.wait(self.up, "all servers and disks up")

    def _answers(self) -> bool:
        with suppress(OSError, Fault):
            return bool(self.call("listEvents") == [])
        return False

    def tidy(self) -> None:
        """Detach and delete every volume, snapshots first."""
        volumes = self.call("listLogicalVolumes")
        for volume in sorted(volumes, key=lambda v: -len(v["associated_to"])):
            name = volume["lvolname"]
            self.settle(name)
            if not volume["associated_to"]:
                self.detach(name)
            self.delete(name)

    def mend_and_check(self) -> None:
        """Repair and empty the cluster; nothing is left on any node, and fsck finds nothing."""
        self.repair()
        self.tidy()
        self.wait(lambda: not self.orphans(), "no orphans on any node")
        checked = self.cluster.manage("fsck")
        assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + checked.stderr

    def orphans(self) -> list[str]:
        """Name what nodes still have although no volume is attached, and who does not tell yet."""
        found = []
        for node in self.place.nodes():
            try:
                held = _held(node.role, node.addresses, node.port)
            except AgentUnreachable:
                held = [("agent", "is not up yet")]
            found += [f"{node.name}: {kind} {thing}" for kind, thing in held]
        return found


@contextmanager
def running_world(cluster: LocalCluster) -> Iterator[World]:
    """Start a cluster that is ready to be used, and stop it in the end."""
    cluster.take()
    world = World(cluster)
    try:
        cluster.start()
        world.wait(world.up, "all servers and disks registered")
        world.wait(world.zeroed, "all space zeroed")
        yield world
    finally:
        world.background.shutdown()
        cluster.stop()


def _held(role: str, addresses: tuple[str, ...], port: int) -> list[tuple[str, object]]:
    if role == "head":
        return [("group", group.lvolid) for group in HeadAgent(addresses, port).state().groups]
    return [("export", export.dextid) for export in StorageAgent(addresses, port).state().exports]
