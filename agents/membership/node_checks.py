"""What a machine needs to be a node: each finding says what is wrong and how to mend it."""

import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from agents.certificate_end import end_of
from agents.engines.base import EngineError
from agents.engines.devices import nbd_module
from agents.engines.kernel import requirements
from agents.engines.kernel.kernel_storage import require_block_device
from agents.errors import AgentError
from agents.identity import explain
from agents.membership import manager_door
from agents.membership.manager_door import Told
from agents.membership.node_files import HEAD, STORAGE
from agents.membership.routes import networks_of
from agents.node.config import DiskConfig
from agents.node.storage.recognition import look_at

SKEW_SECONDS = 2.0
REACH_SECONDS = 3.0
ENDS_SOON = timedelta(days=30)
START_SECONDS = 10.0
"""So long an agent that was just started may take until it listens."""
ROOM = 256 << 20
NEEDS = {HEAD: requirements.HEAD, STORAGE: requirements.STORAGE}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong here, or, as advice, that could be better."""

    what: str
    mend: str
    advice: bool = False

    def __str__(self) -> str:
        return f"{self.what}\n    {self.mend}"


def check_clock(theirs: float, ours: float | None = None) -> Iterator[Finding]:
    """Compare the clocks: certificates and logs depend on them."""
    skew = (time.time() if ours is None else ours) - theirs
    if abs(skew) > SKEW_SECONDS:
        mend = "have both follow a time server (chrony or systemd-timesyncd)"
        yield Finding(f"the clock is {skew:+.0f} s off the manager's", mend)


def check_own_addresses(addresses: Sequence[str]) -> Iterator[Finding]:
    """See that the addresses are this machine's."""
    for address in addresses:
        try:
            with socket.socket() as probe:
                probe.bind((address, 0))
        except OSError:
            yield Finding(
                f"{address} is no address of this machine", "configure it, or say another --address"
            )


def check_networks(addresses: Sequence[str]) -> Iterator[Finding]:
    """See that the addresses are in two networks."""
    if len(networks_of(addresses)) < 2:  # noqa: PLR2004
        yield Finding(
            "there is one network only: while it is down, so is the node",
            "say --address twice, with addresses in two networks",
            advice=True,
        )


def check_managers(urls: Iterable[str]) -> Iterator[Finding]:
    """Try every manager's address: one that does not answer now is no help when it is needed."""
    for url in urls:
        parts = urlsplit(url)
        place = parts.hostname or "", parts.port or manager_door.PORT
        try:
            socket.create_connection(place, REACH_SECONDS).close()
        except OSError as error:
            yield Finding(
                f"{url} cannot be reached: {error.strerror or error}",
                "start the manager there, or open its port in the firewalls between",
            )


def check_ports(addresses: Iterable[str], ports: Iterable[int]) -> Iterator[Finding]:
    """See that nobody else has an agent's ports."""
    places = [(address, port) for address in addresses for port in ports]
    for address, port in places:
        try:
            socket.create_server((address, port)).close()
        except OSError as error:
            yield Finding(
                f"port {port} of {address} cannot be had: {error.strerror}",
                f"see who has it: ss -ltnp 'sport = :{port}'",
            )


def check_called_port(role: str, port: int, told: Told) -> Iterator[Finding]:
    """See that an agent listens where the manager calls it."""
    theirs = told.ports.get(role, port)
    if theirs != port:
        yield Finding(
            f"the manager calls {role} agents at port {theirs}, and here port {port} is set",
            f"say port = {theirs} in {role}.toml, then systemctl restart vastsky-{role};"
            f" or set VASTSKY_{role.upper()}_AGENT_PORT on the manager, for all of them",
        )


def check_agent(
    role: str, addresses: Iterable[str], port: int, authority: Path | None
) -> Iterator[Finding]:
    """See that this node's agent, and nobody else, answers at its port."""
    deadline = time.monotonic() + START_SECONDS
    for address in addresses:
        try:
            with _connect((address, port), deadline) as sock:
                if authority:
                    context = manager_door.trusting_only(authority.read_text())
                    context.wrap_socket(sock, server_hostname=address).close()
        except ssl.SSLError as error:
            yield Finding(
                f"at port {port} of {address} is not this node's {role} agent: {explain(error)}",
                f"see who has it: ss -ltnp 'sport = :{port}'",
            )
        except (OSError, ValueError) as error:
            yield Finding(
                f"the {role} agent does not answer at port {port} of {address}: {error}",
                f"systemctl status vastsky-{role}; journalctl -u vastsky-{role}",
            )


def _connect(place: tuple[str, int], deadline: float) -> socket.socket:
    """Connect to a program that may just be starting."""
    while True:
        try:
            return socket.create_connection(place, REACH_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def check_folders(folders: Iterable[Path]) -> Iterator[Finding]:
    """See that an agent can write its folders, or make them."""
    for folder in folders:
        place = _nearest(folder)
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            yield Finding(
                f"{folder} cannot be written",
                f"see who has it, and whether it is a folder: ls -ld {place}",
            )


def check_room(folder: Path) -> Iterator[Finding]:
    """See that there is room for an agent's state."""
    free = shutil.disk_usage(_nearest(folder)).free
    if free < ROOM:
        yield Finding(
            f"{free >> 20} MiB are left for {folder}: {ROOM >> 20} are wanted",
            f"make room: df -h {_nearest(folder)}",
        )


def _nearest(path: Path) -> Path:
    """Give what is there of a path: itself, or the folder in which it would be made."""
    return next(place for place in (path, *path.parents) if place.exists())


def check_nbd() -> Iterator[Finding]:
    """See that a head of the embedded engine can make block devices."""
    if why := nbd_module.why_unusable():
        mend = "modprobe nbd, as root; without it volumes are sockets (device = 'socket')"
        yield Finding(why, mend)


def check_kernel_engine(role: str, disks: Iterable[str]) -> Iterator[Finding]:
    """See that the kernel engine has here what its agent cannot start or serve without."""
    needs = NEEDS[role]
    for program, package in needs.missing_programs():
        yield Finding(
            f"{program} is not installed, which the kernel engine needs",
            f"Debian: apt install {package}",
        )
    if modules := needs.missing_modules():
        yield Finding(
            f"this kernel has no {', '.join(modules)}, which the kernel engine needs",
            "install and start a kernel with all of its modules (Debian: linux-image-amd64),"
            ' or say engine = "userspace"',
        )
    for path in disks:
        try:
            require_block_device(path)
        except EngineError as error:
            yield Finding(str(error), "name a disk, a partition or a logical volume")
        except OSError:
            continue  # what else is wrong with it is told anyway


def check_disks(paths: Iterable[str], cluster: str) -> Iterator[Finding]:
    """Look at disks, and write nothing: one that holds anything that is not this cluster's."""
    for path in paths:
        try:
            look_at(path, cluster)
        except (AgentError, OSError) as error:
            yield Finding(
                f"{path}: {getattr(error, 'strerror', '') or error}",
                "choose another disk; if its data is not needed: wipefs --all, blkdiscard -z",
            )


def check_own_disks(disks: Iterable[DiskConfig], cluster: str) -> Iterator[Finding]:
    """Look whether an agent can have its disks, whose they are as well where the cluster is known.

    What is to be made, or taken whatever it holds, is not looked into.
    """
    for disk in disks:
        if disk.create_gb and not Path(disk.path).exists():
            continue
        try:
            if cluster and not disk.initialize:
                look_at(disk.path, cluster)
            else:
                Path(disk.path).open("rb").close()
        except (AgentError, OSError) as error:
            yield Finding(
                f"{disk.path}: {getattr(error, 'strerror', '') or error}",
                "see whether it is there, and the right one: lsblk; journalctl -k;"
                " whatever it holds may be of volumes: do not wipe it",
            )


def check_certificate(path: Path) -> Iterator[Finding]:
    """See how long the node's certificate is still good for."""
    try:
        left = end_of(path) - datetime.now(UTC)
    except (OSError, ValueError) as error:
        yield Finding(f"the certificate cannot be read: {error}", "join again, or write it anew")
        return
    if left < ENDS_SOON:
        yield Finding(
            f"{path} ended" if left < timedelta() else f"{path} ends in {left.days} days",
            "vastsky-node renew; if it ended: `node rekey NAME` on the manager makes a join string",
        )


def check_private(paths: Iterable[Path]) -> Iterator[Finding]:
    """See that nobody else reads what is secret."""
    for path in paths:
        try:
            readable = path.stat().st_mode & 0o077
        except OSError as error:
            yield Finding(f"{path}: {error.strerror}", "join again, or write it anew")
            continue
        if readable or not os.access(path, os.R_OK):
            yield Finding(f"{path} is not for its owner alone", f"chmod 600 {path}")


def check_trust(url: str, authority: Path) -> Iterator[Finding]:
    """See that the manager is who the node's authority vouches for, and what time it is there."""
    try:
        told = _learn(url, authority)
    except (AgentError, OSError, ValueError) as error:
        yield Finding(str(error), "see whether it is the manager of this cluster, and its log")
    else:
        yield from check_clock(told.time)


def told_by(url: str, authority: Path) -> Told | None:
    """Ask a manager who it is; None where it does not answer, or is not trusted."""
    try:
        return _learn(url, authority)
    except (AgentError, OSError, ValueError):
        return None


def _learn(url: str, authority: Path) -> Told:
    return manager_door.learn(url, manager_door.fingerprint(authority.read_text()))
