"""A cluster of real nodes with two managers on one PostgreSQL and one Redis."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deploy import postgres
from deploy.local import manager_processes, observe, processes
from deploy.local.cluster import LocalCluster
from deploy.local.place import ROOT, Place, choose
from deploy.local.rpc_calls import RpcCalls

PARTS = ("web", "worker", "beat")
POLICY = {
    "VASTSKY_RECONCILE_SECONDS": "2",
    "VASTSKY_AGENT_TIMEOUT": "2",
    "VASTSKY_SECRET_KEY": "shared by all managers of this cluster, 0123456789-0123456789-0123",
}


@dataclass(frozen=True)
class Managers:
    """The first manager is the local cluster's; the second has a folder and a port of its own."""

    first: LocalCluster
    second: Place

    @property
    def urls(self) -> tuple[str, str]:
        return self.first.place.rpc_url, self.second.rpc_url

    def start_second(self, tree: Path = ROOT) -> None:
        """Start web, worker and beat of the second manager, of the code in a tree."""
        shared = self.first.environment
        environment = {**shared, "VASTSKY_HOME": str(self.second.home)}
        for part in PARTS:
            command = manager_processes.command(self.second, part)
            if part == "worker":
                command += ["-n", "second@%h"]
            processes.start(
                command,
                home=self.second.home,
                part=part,
                log=self.second.log(part),
                environment=environment,
                tree=tree,
            )
        call = RpcCalls(self.second.rpc_url)
        observe.wait(lambda: _answers(call), "the second manager answers")

    def kill_first(self, *parts: str) -> None:
        """Cut the first manager's power, or that of parts; nodes, Redis and PostgreSQL stay."""
        for part in parts or PARTS:
            self.first.kill(part)

    def start_first(self, *parts: str) -> None:
        """Switch it on again."""
        for part in parts or PARTS:
            self.first.launch(part)
        observe.wait(lambda: _answers(RpcCalls(self.first.place.rpc_url)), "the first one answers")

    def stop_second(self) -> None:
        """End the second manager, if it runs."""
        processes.end(lambda: processes.marked(self.second.home), grace=20)

    def renew_second(self) -> None:
        """Let this release take the second manager over; the schema first, under the older one."""
        self.stop_second()
        done = self.first.manage("migrate", "--verbosity", "0", tree=ROOT)
        if done.returncode:
            sys.exit(f"it was not migrated: {done.stderr}")
        self.start_second()

    def renew_first(self) -> None:
        """Let this release take the first manager over, each part once the older one has ended."""
        self.first.manager_tree = ROOT
        for part in PARTS:
            processes.end(partial(processes.marked, self.first.place.home, part), grace=20)
        self.start_first()

    def first_disk(self) -> int:
        """Number of a disk."""
        return int(RpcCalls(self.first.place.rpc_url)("listPhysicalDisks")[0]["pdskid"])


@contextmanager
def running(folder: Path, tree: Path = ROOT) -> Iterator[Managers]:
    """Run all of it in a folder, managers of the code in a tree; all nodes know both of them."""
    binaries = postgres.binaries()
    if binaries is None:
        sys.exit("no PostgreSQL is installed: apt-get install postgresql")
    second = choose(str(folder / "second"), str(_free_port()))
    place = choose(str(folder / "first"), str(_free_port()))
    place = replace(place, other_managers=(second.rpc_url,))
    with postgres.server(binaries) as url:
        first = LocalCluster(place, {**POLICY, "DATABASE_URL": url})
        first.manager_tree = tree
        first.take()
        managers = Managers(first, second)
        try:
            first.start()
            managers.start_second(tree)
            yield managers
        finally:
            managers.stop_second()
            first.stop()


def _answers(call: RpcCalls) -> bool:
    try:
        return bool(call("vastsky.clusterInfo"))
    except OSError:
        return False


def _free_port() -> int:
    """Find a port that is free, as are the three after it, most likely."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return min(int(probe.getsockname()[1]), 65000)
