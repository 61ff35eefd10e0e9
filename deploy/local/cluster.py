"""A whole cluster as child processes: started in order, watched, stopped in the reverse order."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path

from deploy.local import broker, manager_processes, node_processes, processes
from deploy.local.place import ROOT, Place, Unusable
from inventory.pulse import Pulse

GRACE_SECONDS = 8.0
"""Seconds that a process has to end by itself before it is forced."""

SILENCE = 60.0
"""Seconds without a tick, or without the broker's answer, after which it is started anew."""
ASK = 5.0
"""Seconds between two questions to the broker."""


REGISTERED = "registered as"
"""What an agent logs when the manager knows it, with all its disks, of this very start."""


class Tail:
    """What is appended to a log from now on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = log.stat().st_size if log.exists() else 0

    def has(self, words: str) -> bool:
        if not self._log.exists():
            return False
        with self._log.open(errors="replace") as lines:
            lines.seek(self._start)
            return any(words in line for line in lines)


class LocalCluster:
    """The processes of one place. Only its owner (the holder of the lock) starts and stops all."""

    def __init__(
        self, place: Place, policy: Mapping[str, str], limits: Mapping[str, int] | None = None
    ) -> None:
        self.place = place
        self.manager_tree = ROOT
        """Whose code the manager is of; nodes are of this one's."""
        self._limits = limits or {}
        self.environment = manager_processes.environment(place, policy)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: int | None = None
        self._ticks = Pulse()
        self._broker_asked = self._broker_answered = 0.0

    def take(self) -> int:
        """Become the owner, end what a killed run left; how many. Unusable where another runs."""
        lock = os.open(self.place.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode().strip() or "?"
            os.close(lock)
            raise Unusable(
                f"a cluster is running in {self.place.home} already (pid {owner});"
                " stop it, or choose another VASTSKY_HOME and PORT"
            ) from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        return processes.end(partial(processes.marked, self.place.home), grace=GRACE_SECONDS)

    def start(self) -> None:
        """Start all parts, each as soon as what it needs is there; all nodes are registered."""
        self._check_ports()
        self.launch("broker")
        self.launch("web")  # it loads while the database is made ready; nobody calls it yet
        self._prepare()
        self._wait("broker", partial(broker.answers, self.place))
        self._wait("web", partial(_well, self.place.url))
        names = [node.name for node in self.place.nodes()]
        logs = {name: Tail(self.place.log(name)) for name in names}
        for part in (*names, "worker", "beat"):
            self.launch(part)
        for name in names:
            self._wait(name, partial(logs[name].has, REGISTERED))

    def stop(self) -> None:
        """End all parts, if they are ours: manager, heads, storage, broker last."""
        if self._lock is None:
            return
        heads, storages = (
            [node.name for node in self.place.nodes() if node.role == role]
            for role in ("head", "storage")
        )
        with ThreadPoolExecutor() as pool:
            for parts in (("beat", "web", "worker"), heads, storages, ("broker",)):
                list(pool.map(self._end, parts))
        processes.end(partial(processes.marked, self.place.home), grace=0)
        os.close(self._lock)
        self._lock = None

    def launch(self, part: str) -> None:
        """Start one part that does not run: a manager's process or a node."""
        self._reap(part)
        if part in manager_processes.MANAGER:
            command = manager_processes.command(self.place, part)
        else:
            command = node_processes.command(self.place, self.place.node(part), self._limits)
        if part == "worker":
            self._ticks = Pulse()
        if part == "broker":
            self._broker_answered = time.monotonic()
        self._children[part] = processes.start(
            command,
            home=self.place.home,
            part=part,
            log=self.place.log(part),
            environment=self.environment,
            tree=self.manager_tree if part in manager_processes.MANAGER else ROOT,
        )

    def kill(self, part: str) -> int:
        """Cut one part's power: `kill -9` of all its processes; how many there were."""
        count = processes.end(partial(processes.marked, self.place.home, part), grace=0)
        self._reap(part)
        return count

    def signal(self, part: str, number: signal.Signals) -> None:
        """Signal a part's main process alone: a node's agent, not its engines."""
        self._children[part].send_signal(number)

    def runs(self, part: str) -> bool:
        """Tell whether any process of a part is alive."""
        return bool(processes.marked(self.place.home, part))

    def lives(self, part: str) -> bool:
        """Tell whether a part's main process lives, if it was started by us; a stopped one does."""
        return part in self._children and self._children[part].poll() is None

    def answers(self, part: str) -> bool:
        """Tell whether a node's agent listens; what it left running on purpose does not count."""
        node = self.place.node(part)
        try:
            socket.create_connection((node.addresses[0], node.port), timeout=5).close()
        except OSError:
            return False
        return True

    def revive(self) -> list[str]:
        """Start again what died, or went silent, of the manager (nodes are other machines)."""
        ours = [part for part in manager_processes.MANAGER if part in self._children]
        lost = {part for part in ours if self._children[part].poll() is not None}
        if "worker" in ours and self._ticks.still(self._last_tick()) > SILENCE:
            lost.add("worker")
        if "broker" in ours and self._broker_hangs():
            lost.add("broker")
        for part in sorted(lost, key=manager_processes.MANAGER.index):
            self.kill(part)
            self.launch(part)
        return sorted(lost)

    def _last_tick(self) -> int:
        """Read the worker's trace: that it changes tells something, whatever the clock says."""
        trace = self.place.home / "last-tick"
        return trace.stat().st_mtime_ns if trace.exists() else 0

    def _broker_hangs(self) -> bool:
        """Tell whether the broker has been silent for too long; it is asked now and then."""
        moment = time.monotonic()
        if moment - self._broker_asked >= ASK:
            self._broker_asked = moment
            if not broker.hangs(self.place):
                self._broker_answered = moment
        return moment - self._broker_answered > SILENCE

    def fallen(self) -> list[str]:
        """Name the nodes that have no power."""
        home = self.place.home
        return [n.name for n in self.place.nodes() if not processes.marked(home, n.name)]

    def manage(self, *words: str, tree: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` for this cluster, of the manager's release or another one."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=tree or self.manager_tree,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _prepare(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.prepare"],
            cwd=self.manager_tree,
            env=self.environment
            | {"VASTSKY_ADMIN_PASSWORD": manager_processes.admin_password(self.place)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unusable(f"the database could not be made ready:\n{done.stderr}{done.stdout}")

    def _check_ports(self) -> None:
        place = self.place
        wanted = [("127.0.0.1", place.port)]
        for node in place.nodes():
            ports = [node.port] if node.role == "head" else [node.port, place.data_port]
            wanted += [(address, port) for address in node.addresses for port in ports]
        for address, port in wanted:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError as error:
                    raise Unusable(
                        f"port {port} of {address} cannot be used ({error.strerror});"
                        f" choose others with PORT= (now {place.port})"
                    ) from None

    def _wait(self, part: str, ready: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._children[part].poll() is not None or time.monotonic() > deadline:
                log = self.place.log(part)
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise Unusable(f"{part} did not start; the end of {log}:\n{tail}")
            time.sleep(0.05)

    def _end(self, part: str) -> None:
        """End a part: main process, then what it left running on purpose, then the rest."""
        child = self._children.get(part)
        if child and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        if part not in manager_processes.MANAGER and self.runs(part):
            self._end_engine(part)
        processes.end(partial(processes.marked, self.place.home, part), grace=GRACE_SECONDS)
        self._reap(part)

    def _end_engine(self, part: str) -> None:
        """Let a node's engine close what is open; what does not is ended afterwards."""
        command = node_processes.command(self.place, self.place.node(part), self._limits)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*command, "--stop-engine"],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=GRACE_SECONDS,
                check=False,
            )

    def _reap(self, part: str) -> None:
        if child := self._children.pop(part, None):
            child.wait()


def _well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as answer:  # noqa: S310  our own
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
