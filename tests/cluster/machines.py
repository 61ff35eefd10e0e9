"""A cluster of separate machines: each a network namespace on two networks, as in production.

The manager and every node have addresses of their own, find each other over two switches, and
trust nobody without a certificate or a token. Nothing leaves this machine.
"""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import xmlrpc.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from agents.client import AgentUnreachable, StorageAgent
from agents.identity import Identity, trusting
from deploy.local import broker, observe, processes
from deploy.local.place import ROOT, Place
from vastsky_site.access import certificates

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
MAKE_TOKENS = f"""
from vastsky_site.access import tokens
for name in {NAMES}:
    print(tokens.create_token(name=name, role="agent")[1])
"""
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
        tls = home / "tls"
        self.environment = {
            **{name: value for name, value in os.environ.items() if "VASTSKY" not in name},
            **HASTE,
            "VASTSKY_HOME": str(home),
            "VASTSKY_PRODUCTION": "1",
            "VASTSKY_SECRET_KEY": secrets.token_urlsafe(50),
            "VASTSKY_ALLOWED_HOSTS": ",".join(self.manager.addresses),
            "VASTSKY_TLS_CERTIFICATE": str(tls / "manager.pem"),
            "VASTSKY_TLS_KEY": str(tls / "manager.key"),
            "VASTSKY_TLS_AUTHORITY": str(tls / "authority.pem"),
            "DATABASE_URL": "",
            "REDIS_URL": self.place.broker_url,
        }

    # -- what a person does at first --------------------------------------------------------------

    def start(self) -> None:
        """Lay the cables, make certificates and tokens, start everything."""
        self._lay_cables()
        self.manage("certificate", "manager", *self.manager.addresses, "--manager")
        self.manage("migrate", "--verbosity", "0")
        self._token = self.manage("token", "create", "tester", "--role", "admin").strip()
        for node in self.nodes:
            # As `manage.py certificate` does it, without two seconds of starting for each.
            certificates.issue(self.place.home / "tls", node.name, node.addresses)
        made = self.manage("shell", "-v", "0", "-c", MAKE_TOKENS).split()
        for node, token in zip(self.nodes, made, strict=True):
            self._configure(node, token)
        self._start_manager()
        for node in self.nodes:
            self.power_on(node)

    def manage(self, *words: str) -> str:
        """Run `manage.py` on the manager; what it says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

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
            "manager": f"https://{self.manager.addresses[0]}:{PORT}/RPC2",
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

    def _start_manager(self) -> None:
        python = [sys.executable, "-m"]
        tls = self.environment
        web = ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
        web += ["--certificate", tls["VASTSKY_TLS_CERTIFICATE"]]
        web += ["--key", tls["VASTSKY_TLS_KEY"]]
        celery = [*python, "celery", "-A", "vastsky_site"]
        schedule = str(self.place.home / "schedule")
        self._launch(self.manager, "broker", broker.command(self.place))
        observe.wait(partial(broker.answers, self.place), "the broker answers")
        self._launch(self.manager, "web", [*python, "vastsky_site.serve", *web])
        self._launch(self.manager, "worker", [*celery, "worker", "-P", "threads", "-c", "8"])
        self._launch(self.manager, "beat", [*celery, "beat", "--schedule", schedule, "--pidfile="])

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
                environment=self.environment,
            )
        )

    # -- what programs do -------------------------------------------------------------------------

    def call(self, method: str, **members: object) -> Any:
        """Call the API with a token, over TLS, from the manager's own machine."""
        return self._caller.submit(self._call, method, members).result(120)

    def _call(self, method: str, members: dict[str, object]) -> Any:
        url = f"https://tester:{self._token}@{self.manager.addresses[0]}:{PORT}/RPC2"
        context = trusting(self.place.home / "tls" / "authority.pem")
        with xmlrpc.client.ServerProxy(url, context=context) as server:
            return getattr(server, method)({"ver": 5, **members})

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
