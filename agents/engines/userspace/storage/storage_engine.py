"""The storage agent's handle on its data server, which is a process of its own."""

import errno
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TypeVar

from agents.engines.base import DataServerFigures, EngineError, Lease, LeaseUse
from agents.engines.userspace.process import control, dialogue, spawn

logger = logging.getLogger(__name__)

T = TypeVar("T")

START_SECONDS = 15.0
LIVE_SECONDS = 20.0
PROBE_SECONDS = 1.0


class UserspaceStorage:
    """StorageEngine of the embedded engine."""

    def __init__(self, state_dir: Path, run_dir: Path, addresses: Sequence[str], port: int) -> None:
        self.port = port
        self._addresses = tuple(addresses)
        self._socket = str(run_dir.absolute() / "data.ctl")
        if len(self._socket) > spawn.LONGEST_SOCKET_PATH:
            raise EngineError(errno.ENAMETOOLONG, f"run_dir is too long for sockets: {run_dir}")
        state_dir.mkdir(parents=True, exist_ok=True)
        run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = str(state_dir.absolute() / "data.lock")
        self._log = str(state_dir.absolute() / "data.log")
        self._end_what_listens_elsewhere()

    def ensure_running(self) -> str:
        """Find the data server or start one; its instance id, new for each process."""
        holder = spawn.lock_holder(self._lock)
        if holder is not None and holder.instance:
            return holder.instance
        arguments = dialogue.DataServerArguments(
            self._lock, self._log, self._socket, self._addresses, self.port
        )
        return spawn.start("storage.data_server_process", arguments, str, START_SECONDS)

    def _end_what_listens_elsewhere(self) -> None:
        """A data server outlives its agent; one that began at former addresses is of no use here.

        Its successor serves nothing yet, and is told so by its instance: as after a restart.
        """
        if spawn.lock_holder(self._lock) is None:
            return
        missed = [address for address in self._addresses if _refuses(address, self.port)]
        if missed:
            logger.warning("the data server does not listen at %s: ended", ", ".join(missed))
            self.stop()

    def leases(self) -> list[LeaseUse]:
        """Tell what is served right now; EngineError when the data server does not answer."""
        served = self._ask(dialogue.TellLeases(), tuple[dialogue.ServedLease, ...])
        return [LeaseUse(lease.lease(), lease.clients) for lease in served]

    def figures(self) -> DataServerFigures | None:
        """Tell what the data server counted; None where it is older than this question."""
        try:
            return self._ask(dialogue.TellFigures(), DataServerFigures)
        except EngineError as error:
            if error.errno == errno.EINVAL:  # what an older process says to any new order
                return None
            raise

    def export(self, leases: Sequence[Lease]) -> None:
        """Serve these too; a lease that is served already stays as it is."""
        self._ask(dialogue.ServeLeases(tuple(leases)), NoneType)

    def drop(self, names: Sequence[str]) -> None:
        """Serve these no more. On return no connection is left and no write is in flight."""
        self._ask(dialogue.DropLeases(tuple(names)), NoneType)

    def stop(self) -> None:
        """End the data server."""
        if spawn.lock_holder(self._lock) is None:
            return
        try:
            self._ask(dialogue.EndServer(), NoneType)
        except EngineError:
            spawn.kill(self._lock)
        if not spawn.await_end(self._lock, LIVE_SECONDS):
            spawn.kill(self._lock)

    def _ask(self, order: dialogue.DataServerOrder, kind: type[T]) -> T:
        return control.ask(self._socket, order, kind, "the data server", LIVE_SECONDS)


def _refuses(address: str, port: int) -> bool:
    """Tell whether nobody listens there, and the address is surely this machine's."""
    with socket.socket() as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.bind((address, 0))
            probe.connect((address, port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
