"""The storage agent's handle on its data server, which is a process of its own."""

import errno
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.engines.base import EngineError, Lease, LeaseUse
from agents.engines.userspace.loop.tasks import Fault
from agents.engines.userspace.process import control, spawn

START_SECONDS = 15.0
LIVE_SECONDS = 20.0


class UserspaceStorage:
    """StorageEngine of the embedded engine."""

    def __init__(self, state_dir: Path, run_dir: Path, addresses: Sequence[str], port: int) -> None:
        self.port = port
        self._addresses = list(addresses)
        self._socket = str(run_dir.absolute() / "data.ctl")
        if len(self._socket) > spawn.LONGEST_SOCKET_PATH:
            raise EngineError(errno.ENAMETOOLONG, f"run_dir is too long for sockets: {run_dir}")
        state_dir.mkdir(parents=True, exist_ok=True)
        run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = str(state_dir.absolute() / "data.lock")
        self._log = str(state_dir.absolute() / "data.log")

    def ensure_running(self) -> str:
        """Find the data server or start one; its instance id, new for each process."""
        holder = spawn.lock_holder(self._lock)
        if holder is not None and "instance" in holder:
            return str(holder["instance"])
        arguments = {
            "lock": self._lock,
            "log": self._log,
            "control": self._socket,
            "addresses": self._addresses,
            "port": self.port,
        }
        try:
            return str(spawn.start("storage.data_server_process", arguments, START_SECONDS))
        except Fault as fault:
            raise EngineError(fault.errno, str(fault)) from None

    def leases(self) -> list[LeaseUse]:
        """Tell what is served right now; EngineError when the data server does not answer."""
        found = []
        for lease in self._ask({"do": "leases"}):
            clients = lease.pop("clients")
            found.append(LeaseUse(Lease(**lease), clients))
        return found

    def export(self, leases: Sequence[Lease]) -> None:
        """Serve these too; a lease that is served already stays as it is."""
        self._ask({"do": "export", "leases": [asdict(lease) for lease in leases]})

    def drop(self, names: Sequence[str]) -> None:
        """Serve these no more. On return no connection is left and no write is in flight."""
        self._ask({"do": "drop", "names": list(names)})

    def stop(self) -> None:
        """End the data server."""
        if spawn.lock_holder(self._lock) is None:
            return
        try:
            control.ask(self._socket, {"do": "stop"}, LIVE_SECONDS)
        except (Fault, TimeoutError, control.NoProcess):
            spawn.kill(self._lock)
        if not spawn.await_end(self._lock, LIVE_SECONDS):
            spawn.kill(self._lock)

    def _ask(self, order: dict[str, Any]) -> Any:
        try:
            return control.ask(self._socket, order, LIVE_SECONDS)
        except Fault as fault:
            raise EngineError(fault.errno, str(fault)) from None
        except control.NoProcess:
            raise EngineError(errno.ECONNREFUSED, "the data server does not run") from None
        except TimeoutError:
            raise EngineError(errno.ETIMEDOUT, "the data server does not answer") from None
