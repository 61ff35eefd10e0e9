"""Where one cluster lives on this machine: every path, port and address follows from two values."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOCKET_LIMIT = 107
"""Bytes that the kernel takes as the path of a unix socket."""
LONGEST_NAME = 64
"""A volume's name, which is the name of its link."""
HEADS = 1
STORAGES = 4
DISKS = 2
DISK_GB = 64


class Unusable(Exception):
    """The cluster cannot be started here; the text is one line for the person who asked."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One server of the local cluster; its two addresses are in two networks."""

    name: str
    role: str
    addresses: tuple[str, str]
    port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Home, a folder with short paths for sockets, the first of four ports, how large and many."""

    home: Path
    run: Path
    port: int
    disk_gb: int = DISK_GB
    heads: int = HEADS
    other_managers: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def rpc_url(self) -> str:
        return f"{self.url}RPC2"

    @property
    def head_port(self) -> int:
        return self.port + 1

    @property
    def storage_port(self) -> int:
        return self.port + 2

    @property
    def data_port(self) -> int:
        return self.port + 3

    @property
    def links(self) -> Path:
        """The first head's /dev/vas."""
        return self.run / "vas"

    def links_of(self, head: str) -> Path:
        """Tell a head's /dev/vas."""
        return self.links if head == "head-1" else self.run / f"vas-{head}"

    @property
    def broker_socket(self) -> Path:
        return self.run / "redis.sock"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self.broker_socket}"

    def log(self, part: str) -> Path:
        return self.home / "logs" / f"{part}.log"

    def nodes(self) -> list[LocalNode]:
        """Name all nodes: addresses 127.0.1.x and 127.0.2.x, heads from .11, storage from .21."""
        heads = [_node("head", number, 10, self.head_port) for number in range(1, self.heads + 1)]
        storages = [
            _node("storage", number, 20, self.storage_port) for number in range(1, STORAGES + 1)
        ]
        return heads + storages

    def node(self, name: str) -> LocalNode:
        for node in self.nodes():
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes())
        raise Unusable(f"there is no node {name}; there are {names}")

    def folder(self, node: LocalNode) -> Path:
        return self.home / "nodes" / node.name


def choose(home: str, port: str, disk_gb: int = DISK_GB, heads: int = HEADS) -> Place:
    """Read VASTSKY_HOME and PORT; Unusable where one cannot serve."""
    if not port.isdecimal() or not 1 <= int(port) <= 65535 - 3:
        raise Unusable(f"PORT={port}: a number from 1 to 65532 is wanted")
    folder = Path(home).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"VASTSKY_HOME={home} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unusable(f"VASTSKY_HOME={home} cannot be written by this user")
    return Place(folder, _run_folder(folder), int(port), disk_gb, heads)


def _run_folder(home: Path) -> Path:
    """Choose the folder of sockets: under home, or under /tmp where home's path is too long."""
    run = home / "run"
    if len(os.fsencode(run)) + len("/vas-head-1/") + LONGEST_NAME > SOCKET_LIMIT:
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
        run = Path(tempfile.gettempdir()) / f"vastsky-{os.getuid()}-{digest}"
    run.mkdir(mode=0o700, exist_ok=True)
    status = run.lstat()
    if run.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise Unusable(f"{run} is not a private folder of this user")
    return run


def _node(role: str, number: int, first: int, port: int) -> LocalNode:
    host = first + number
    return LocalNode(f"{role}-{number}", role, (f"127.0.1.{host}", f"127.0.2.{host}"), port)
