"""Sessions with storage servers: open-iscsi logs in and keeps them, sysfs tells what came of it."""

import contextlib
import errno
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import iscsi_names, records
from agents.engines.kernel.command import run
from agents.engines.kernel.sessions import Sessions

logger = logging.getLogger(__name__)

LOGIN_SECONDS = 40.0
APPEAR_SECONDS = 15.0
POLL_SECONDS = 0.05
AT_ONCE = 8
"""A server that is gone keeps its login waiting, and nobody else's."""
NO_RECORDS = 21
"""What iscsiadm ends with where there is nothing to be done."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A path to a unit of a target: a disk of the kernel's, by its number."""

    serial: str
    number: str


class Initiator:
    """This head's sessions with the targets of groups, each of one epoch."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._all = Sessions()

    def log_in(self, lvolid: int, epoch: int, secret: str, addresses: Iterable[str]) -> None:
        """Have a session over each of these addresses; which of them failed, `units` tells."""
        known = set(self._addresses(lvolid, epoch))
        wanted = sorted(set(addresses) - known)
        if wanted:
            records.write(lvolid, epoch, secret, [f"{one}:{self._port}" for one in wanted])
            said = self._log_in(lvolid, epoch, wanted if known else [])
            if not any(self._sessions(lvolid, epoch)):
                raise EngineError(errno.EHOSTUNREACH, f"group {lvolid}: {said}")
            if said:
                logger.warning("group %d: %s", lvolid, said)
        self.rescan(lvolid, epoch)

    def _log_in(self, lvolid: int, epoch: int, addresses: Sequence[str]) -> str:
        """Log in over these addresses, or over all of which there are records; what failed."""
        node = _node(lvolid, epoch)
        portals = [["-p", f"{one}:{self._port},{iscsi_names.PORTAL_GROUP}"] for one in addresses]

        def try_one(portal: Sequence[str]) -> str:
            try:
                run(*node, *portal, "--login", seconds=LOGIN_SECONDS)
            except EngineError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return "; ".join(filter(None, pool.map(try_one, portals or [[]])))

    def log_out(self, lvolid: int, epoch: int) -> None:
        """End all sessions of an epoch, and leave no record of them."""
        if any(self._sessions(lvolid, epoch)):
            run(*_node(lvolid, epoch), "--logout", seconds=LOGIN_SECONDS, ok=(0, NO_RECORDS))
        records.remove(lvolid, epoch)

    def rescan(self, lvolid: int, epoch: int) -> None:
        """Look for units that came since."""
        for session in self._sessions(lvolid, epoch):
            for host in (session / "device").resolve().parents:
                scan = Path("/sys/class/scsi_host") / host.name / "scan"
                if scan.exists():
                    with contextlib.suppress(OSError):
                        scan.write_text("- - -")
                    break

    def await_units(
        self, lvolid: int, epoch: int, wanted: Iterable[str]
    ) -> dict[str, tuple[Unit, ...]]:
        """Tell all units by serial number, once those that are wanted are there, or do not come."""
        missing, deadline = set(wanted), time.monotonic() + APPEAR_SECONDS
        while True:
            found = self.units(lvolid, epoch)
            if missing <= set(found) or time.monotonic() > deadline:
                return found
            time.sleep(POLL_SECONDS)

    def units(self, lvolid: int, epoch: int) -> dict[str, tuple[Unit, ...]]:
        """Tell the units of this epoch that can be reached, by serial number."""
        found = defaultdict[str, list[Unit]](list)
        for session in self._sessions(lvolid, epoch):
            for disk in session.glob("device/target*/*:*:*:*/block/*"):
                with contextlib.suppress(OSError):
                    serial = _serial(disk / "device" / "vpd_pg80")
                    found[serial].append(Unit(serial, (disk / "dev").read_text().strip()))
        return {serial: tuple(units) for serial, units in found.items()}

    def _addresses(self, lvolid: int, epoch: int) -> Iterator[str]:
        for session in self._sessions(lvolid, epoch):
            for connection in session.glob("device/connection*/iscsi_connection/*"):
                with contextlib.suppress(OSError):
                    yield (connection / "persistent_address").read_text().strip()

    def _sessions(self, lvolid: int, epoch: int) -> Iterator[Path]:
        return self._all.of(iscsi_names.target(lvolid, epoch))


def _node(lvolid: int, epoch: int) -> tuple[str, ...]:
    """Begin a command about all records of an epoch."""
    target, interface = iscsi_names.target(lvolid, epoch), iscsi_names.interface(lvolid, epoch)
    return ("iscsiadm", "-m", "node", "-T", target, "-I", interface)


def _serial(page: Path) -> str:
    """Read a unit's serial number: behind four bytes of header, filled up with what is no digit."""
    return page.read_bytes()[4:].decode(errors="replace").strip("\0 ")
