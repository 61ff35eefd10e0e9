"""A cluster as `make run` starts it, of the code in one tree; nodes may be of another tree."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import observe, processes
from deploy.local.place import ROOT, Place, choose
from deploy.local.rpc_calls import RpcCalls

START_SECONDS = 60
HASTE = {
    "VASTSKY_RECONCILE_SECONDS": "1",
    "VASTSKY_SWEEP_GRACE_SECONDS": "5",
    "VASTSKY_AGENT_TIMEOUT": "1",
    "VASTSKY_SUSPECT_SECONDS": "2",
    "VASTSKY_OFFLINE_SECONDS": "4",
    "VASTSKY_GRACE_SECONDS": "1",
    "VASTSKY_REBUILDS_PER_DISK": "9",
    "VASTSKY_REBUILDS_PER_SERVER": "9",
}


GRANIAN = "granian --interface wsgi --host 127.0.0.1 --blocking-threads 100 --port"
CELERY = "celery -A vastsky_site"
MANAGER = {
    "web": "{granian} {port} vastsky_site.wsgi:application",
    "worker": "{celery} worker -P threads -c 8",
    "beat": "{celery} beat --schedule {home}/beat-schedule --pidfile=",
}


class Running:
    """One running cluster; what it says is beside its home."""

    def __init__(
        self,
        home: Path,
        tree: Path = ROOT,
        database_url: str = "",
        python: str = sys.executable,
    ) -> None:
        self.place: Place = choose(str(home), str(_free_port()))
        self.call = RpcCalls(self.place.rpc_url)
        self._tree, self._python = tree, python
        self._output = home.with_name("run.out")
        self._environment = {
            **os.environ,
            "VASTSKY_HOME": str(self.place.home),
            "PORT": str(self.place.port),
            "DATABASE_URL": database_url,
            "VASTSKY_HEAD_AGENT_PORT": str(self.place.head_port),
            "VASTSKY_STORAGE_AGENT_PORT": str(self.place.storage_port),
            "REDIS_URL": self.place.broker_url,
            **HASTE,
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [self._python, "-m", "deploy.local", "run"],
                cwd=self._tree,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "\nREADY" not in self._output.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it did not start:\n{self._output.read_text()}")
            time.sleep(0.1)

    def _stop(self) -> None:
        """Let the launcher stop everything; what it does not own any more is ended by its mark."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        processes.end(partial(processes.marked, self.place.home), grace=5)
        for process in self._started:
            process.wait()

    def remove(self) -> None:
        """Remove the data of a cluster that was stopped."""
        for folder in {self.place.run, self.place.home}:
            shutil.rmtree(folder, ignore_errors=True)

    def manage(self, *words: str) -> str:
        """Run `manage.py`; what it says, and the errors if it failed."""
        done = subprocess.run(
            [self._python, "manage.py", *words],
            cwd=self._tree,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + (done.stderr if done.returncode else "")

    def power(self, way: str, node: str, tree: Path | None = None) -> None:
        """Switch a node "off", or "on" with the code of a tree."""
        subprocess.run(
            [self._python, "-m", "deploy.local", f"power-{way}", node],
            cwd=tree or self._tree,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def replace_manager(self, tree: Path) -> None:
        """Stop the manager, migrate, start the manager that is in a tree; nodes go on meanwhile."""
        self._process.kill()  # it would start the former manager anew
        self._process.wait()
        for part in ("beat", "worker", "web"):
            processes.end(partial(processes.marked, self.place.home, part), grace=20)
        self._tree = tree
        assert self.manage("migrate", "--verbosity", "0") == ""
        for part, command in MANAGER.items():
            words = {"port": self.place.port, "home": self.place.home}
            text = command.format(granian=GRANIAN, celery=CELERY, **words)
            self._start(part, [self._python, "-m", *text.split()])
        observe.wait(self._answers, "the new manager answers", START_SECONDS)

    def _answers(self) -> bool:
        with suppress(OSError):
            return bool(self.call("listHeadServers"))
        return False

    def restart_agent(self, node: str, tree: Path) -> None:
        """Let the code of a tree take a node over: its settings stay, and what it serves."""
        agent, words = self._agent(node)
        processes.end(lambda: [agent], grace=20)
        self._start(node, [self._python, *words[1:]], tree)

    def slow_down(self, mib_per_s: int) -> None:
        """Let nodes copy and shred at this pace, so that a test can step in between."""
        for node in self.place.nodes():
            key = "rebuild_mib_per_s" if node.role == "head" else "shred_mib_per_s"
            settings = self.place.folder(node) / "agent.toml"
            # At the top: at the end it would be a disk's, where those are tables of their own.
            settings.write_text(f"{key} = {mib_per_s}\n{settings.read_text()}")
            self.restart_agent(node.name, self._tree)

    def kill(self, part: str) -> None:
        """Kill a part of the manager; the launcher starts it anew within seconds."""
        processes.end(partial(processes.marked, self.place.home, part), grace=0)

    def freeze_agent(self, node: str) -> None:
        """Let a node's agent, but not what it serves, stand still until the power is cut."""
        self._agent(node)[0].send(signal.SIGSTOP)

    def cut_power(self) -> None:
        """End everything at once: no order, no goodbye."""
        self._process.kill()
        self._process.wait()
        processes.end(partial(processes.marked, self.place.home), grace=0)

    def _agent(self, node: str) -> tuple[processes.Process, list[str]]:
        """Find a node's agent among all that the node runs, and its command line."""
        for process in processes.marked(self.place.home, node):
            words = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")[:-1]
            if "--config" in words:
                return process, words
        raise AssertionError(f"{node} has no agent")

    def _start(self, part: str, command: list[str], tree: Path | None = None) -> None:
        """Start a part as the launcher does, so that it ends with the others."""
        marks = {processes.HOME_MARK: str(self.place.home), processes.PART_MARK: part}
        with self.place.log(part).open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=tree or self._tree,
                env={**self._environment, **marks},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)


def _free_port() -> int:
    """Find four neighbouring ports that nobody has, where tests/cluster does not look."""
    for _ in range(100):
        first = random.randrange(14000, 20000, 4)
        if all(_is_free(first + n) for n in range(4)):
            return first
    raise RuntimeError("no four free ports were found")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
