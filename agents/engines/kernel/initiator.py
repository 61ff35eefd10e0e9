"""Sessions with storage servers: open-iscsi logs in and keeps them, sysfs tells what came of it."""

import contextlib
import errno
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import names
from agents.engines.kernel.command import run

logger = logging.getLogger(__name__)

SESSIONS = Path("/sys/class/iscsi_session")
RECORDS = Path("/etc/iscsi")
AT_ONCE = 16
LOGIN_SECONDS = 40.0
APPEAR_SECONDS = 15.0
POLL_SECONDS = 0.05
SETTINGS = {
    "node.session.auth.authmethod": "CHAP",
    "node.session.auth.username": names.USER,
    "node.session.initial_login_retry_max": "1",
    "node.session.timeo.replacement_timeout": "3",
    "node.session.scan": "auto",
    "node.conn[0].timeo.login_timeout": "5",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "2",
    "node.startup": "manual",
}
"""A server that is gone is noticed after 2 + 2 s, and its paths fail 3 s later."""
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

    def log_in(self, lvolid: int, epoch: int, secret: str, addresses: Iterable[str]) -> None:
        """Have a session over each of these addresses; which of them failed, `units` tells."""
        wanted = sorted(set(addresses) - set(self._addresses(lvolid, epoch)))
        if not wanted:
            self.rescan(lvolid, epoch)
            return
        self._make_interface(lvolid, epoch)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            said = list(pool.map(lambda one: self._log_in(lvolid, epoch, secret, one), wanted))
        if not any(self._sessions(lvolid, epoch)):
            raise EngineError(errno.EHOSTUNREACH, f"group {lvolid}: {said[0]}")
        for words in filter(None, said):
            logger.warning("group %d: %s", lvolid, words)
        self.rescan(lvolid, epoch)

    def _log_in(self, lvolid: int, epoch: int, secret: str, address: str) -> str:
        """Log in over one address; why that failed, or nothing."""
        portal = f"{address}:{self._port},{names.PORTAL_GROUP}"
        target, interface = names.target(lvolid, epoch), names.interface(lvolid, epoch)
        node = ("iscsiadm", "-m", "node", "-T", target, "-p", portal, "-I", interface)
        settings = SETTINGS | {"node.session.auth.password": secret}
        pairs = [word for pair in settings.items() for word in ("-n", pair[0], "-v", pair[1])]
        try:
            run(*node, "-o", "new")
            run(*node, "-o", "update", *pairs)
            run(*node, "--login", seconds=LOGIN_SECONDS)
        except EngineError as error:
            return str(error).replace(secret, "(secret)")
        return ""

    def log_out(self, lvolid: int, epoch: int) -> None:
        """End all sessions of an epoch, and leave no record of them."""
        target, interface = names.target(lvolid, epoch), names.interface(lvolid, epoch)
        node = ("iscsiadm", "-m", "node", "-T", target, "-I", interface)
        if any(self._sessions(lvolid, epoch)):
            run(*node, "--logout", seconds=LOGIN_SECONDS, ok=(0, NO_RECORDS))
        if (RECORDS / "ifaces" / interface).exists():
            run(*node, "-o", "delete", ok=(0, NO_RECORDS))
            run("iscsiadm", "-m", "iface", "-I", interface, "-o", "delete")

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

    def _make_interface(self, lvolid: int, epoch: int) -> None:
        record = ("iscsiadm", "-m", "iface", "-I", names.interface(lvolid, epoch), "-o")
        run(*record, "new", ok=(0, 15))
        run(*record, "update", "-n", "iface.initiatorname", "-v", names.initiator(lvolid, epoch))

    def _addresses(self, lvolid: int, epoch: int) -> Iterator[str]:
        for session in self._sessions(lvolid, epoch):
            for connection in session.glob("device/connection*/iscsi_connection/*"):
                with contextlib.suppress(OSError):
                    yield (connection / "persistent_address").read_text().strip()

    def _sessions(self, lvolid: int, epoch: int) -> Iterator[Path]:
        wanted = names.target(lvolid, epoch)
        for session in sorted(SESSIONS.glob("session*")):
            with contextlib.suppress(OSError):
                if (session / "targetname").read_text().strip() == wanted:
                    yield session


def _serial(page: Path) -> str:
    """Read a unit's serial number: behind four bytes of header, filled up with what is no digit."""
    return page.read_bytes()[4:].decode(errors="replace").strip("\0 ")
