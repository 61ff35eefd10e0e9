"""A cluster of separate machines: each a network namespace on two networks, as in production.

The manager and every node have addresses of their own, find each other over two switches, and
trust nobody without a certificate or a token. Nothing leaves this machine.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from agents.client import AgentUnreachable, StorageAgent
from agents.identity import Identity
from deploy.local import processes
from deploy.local.place import Place
from tests.cluster.secure_manager import SecureManager

NETWORKS = ("net-a", "net-b")
NAMES = ("head-1", "head-2", "storage-1", "storage-2", "storage-3", "storage-4")
PORT = 8881
HASTE = {
    "VASTSKY_RECONCILE_SECONDS": "1",
    "VASTSKY_SWEEP_GRACE_SECONDS": "5",
    "VASTSKY_AGENT_TIMEOUT": "1",
    "VASTSKY_SUSPECT_SECONDS": "2",
    "VASTSKY_OFFLINE_SECONDS": "4",
    "VASTSKY_GRACE_SECONDS": "3",
}
AUTHORITY = "authority.pem"
STORAGE_PORT = 8883
CLONE_NEWNET = 0x40000000


def can_be_made() -> bool:
    """Tell whether this user may make network namespaces here."""
    probe = f"vs{os.getpid()}-probe"
    if os.geteuid() or not shutil.which("ip"):
        return False
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return made.returncode == 0


def ip(*words: str) -> None:
    """Tell the kernel something about its networks."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine: its name, its host number, and the namespace that it is."""

    name: str
    number: int
    space: str

    @property
    def addresses(self) -> list[str]:
        return [f"10.77.{place}.{self.number}" for place, _ in enumerate(NETWORKS, start=1)]

    @property
    def role(self) -> str:
        return self.name.partition("-")[0]


class Machines:
    """A manager, two heads and four storage servers. Whoever starts them stops them."""

    def __init__(self, home: Path, run: Path) -> None:
        self.place = Place(home, run, PORT)
        self._tag = f"vs{os.getpid()}"
        self._switch = f"{self._tag}-switch"
        self.manager = Machine("manager", 1, f"{self._tag}-manager")
        self.nodes = [
            Machine(name, number, f"{self._tag}-{name}")
            for number, name in enumerate(NAMES, start=11)
        ]
        self._children: list[subprocess.Popen[bytes]] = []
        # One thread stands in the manager's namespace: it calls as programs there do.
        self._caller = ThreadPoolExecutor(1, initializer=partial(_enter, self.manager.space))
        self._manager = SecureManager(self.place, self.manager.addresses, HASTE)

    # -- what a person does at first --------------------------------------------------------------

    def start(self) -> None:
        """Lay the cables, make certificates and tokens, start everything."""
        self._lay_cables()
        tokens = self._manager.prepare({node.name: node.addresses for node in self.nodes})
        for node in self.nodes:
            self._configure(node, tokens[node.name])
        self._manager.start(partial(self._launch, self.manager))
        for node in self.nodes:
            self.power_on(node)

    def manage(self, *words: str) -> str:
        """Run `manage.py` on the manager; what it says."""
        return self._manager.manage(*words)

    def _lay_cables(self) -> None:
        ip("netns", "add", self._switch)
        for network in NETWORKS:
            ip("-n", self._switch, "link", "add", network, "type", "bridge")
            ip("-n", self._switch, "link", "set", network, "up")
        for machine in (self.manager, *self.nodes):
            ip("netns", "add", machine.space)
            ip("-n", machine.space, "link", "set", "lo", "up")
            for network, address in zip(NETWORKS, machine.addresses, strict=True):
                self._lay_cable(machine, network, address)

    def _lay_cable(self, machine: Machine, network: str, address: str) -> None:
        port = f"{network}{machine.number}"
        cable = ("type", "veth", "peer", "name", network, "netns", machine.space)
        ip("-n", self._switch, "link", "add", port, *cable)
        ip("-n", self._switch, "link", "set", port, "master", network, "up")
        ip("-n", machine.space, "address", "add", f"{address}/24", "dev", network)
        ip("-n", machine.space, "link", "set", network, "up")

    def _configure(self, node: Machine, token: str) -> None:
        folder = self.place.home / "nodes" / node.name
        folder.mkdir(parents=True)
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(token)
        (self.place.run / node.name).mkdir()
        tls = self.place.home / "tls"
        settings: dict[str, object] = {
            "manager": self._manager.url,
            "addresses": node.addresses,
            "state_dir": str(folder / "state"),
            "run_dir": str(self.place.run / node.name),
            "token_name": node.name,
            "token_file": str(folder / "token"),
            "tls_certificate": str(tls / f"{node.name}.pem"),
            "tls_key": str(tls / f"{node.name}.key"),
            "tls_authority": str(tls / "authority.pem"),
        }
        if node.role == "head":
            settings["links_dir"] = str(self.links(node.name))
            settings["device"] = "socket"  # whatever this machine's kernel can
        else:
            settings["disks"] = [{"path": str(folder / "disk.img"), "create_gb": 16}]
        (folder / "agent.toml").write_text(tomli_w.dumps(settings))

    # -- what happens to machines -----------------------------------------------------------------

    def node(self, name: str) -> Machine:
        return next(node for node in self.nodes if node.name == name)

    def links(self, head: str) -> Path:
        """Tell where a head has the devices of its volumes."""
        return self.place.links / head

    def power_on(self, node: Machine) -> None:
        config = self.place.home / "nodes" / node.name / "agent.toml"
        command = [sys.executable, "-m", "agents", node.role, "--config", str(config)]
        self._launch(node, node.name, command)

    def power_off(self, node: Machine) -> None:
        processes.end(partial(processes.marked, self.place.home, node.name), grace=0)

    def unplug(self, machine: Machine, *networks: str) -> None:
        """Lose all that a machine sends or is sent there; neither end is told."""
        for network in networks or NETWORKS:
            ip("-n", self._switch, "link", "set", f"{network}{machine.number}", "nomaster")

    def plug(self, machine: Machine, *networks: str) -> None:
        for network in networks or NETWORKS:
            ip("-n", self._switch, "link", "set", f"{network}{machine.number}", "master", network)

    def _launch(self, machine: Machine, part: str, command: Sequence[str]) -> None:
        inside = ["ip", "netns", "exec", machine.space, *command]
        self._children.append(
            processes.start(
                inside,
                home=self.place.home,
                part=part,
                log=self.place.log(part),
                environment=self._manager.environment,
            )
        )

    # -- what programs do -------------------------------------------------------------------------

    def call(self, method: str, **members: object) -> Any:
        """Call the API with a token, over TLS, from the manager's own machine."""
        return self._caller.submit(partial(self._manager.call, method, **members)).result(120)

    def order_as(self, name: str | None, node: Machine) -> str:
        """Ask a storage agent for its state with this certificate; why it did not tell."""
        tls = self.place.home / "tls"
        identity = name and Identity(tls / f"{name}.pem", tls / f"{name}.key", tls / AUTHORITY)
        agent = StorageAgent(node.addresses, STORAGE_PORT, identity=identity or None)
        refused = self._caller.submit(agent.state).exception(30)
        assert refused is None or isinstance(refused, AgentUnreachable)
        return str(refused or "")

    # -- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all processes by their marks, and remove the namespaces."""
        self._caller.shutdown()
        everything = partial(processes.marked, self.place.home)
        for process in everything():
            if process.part in ("beat", "worker", "web"):
                process.send(signal.SIGTERM)
        processes.end(everything, grace=3)
        for child in self._children:
            child.wait(10)
        for space in (self._switch, *(m.space for m in (self.manager, *self.nodes))):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _enter(space: str) -> None:
    """Move this thread, and no other, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{space}", "rb") as file:  # noqa: PTH123 - its number is wanted
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
