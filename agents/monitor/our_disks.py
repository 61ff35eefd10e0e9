"""Which disk of the cluster a device of this machine is, or carries."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agents.node.config import StorageConfig
from agents.node.manager_client import ManagerClient
from agents.node.registration import SERVER_ID
from agents.ondisk import GB, SECTOR

BLOCKS = Path("/sys/class/block")
CONTROLLER = re.compile(r"nvme\d+")


@dataclass(frozen=True, slots=True)
class OurDisk:
    """A disk of the cluster: on which whole devices it lies, and from which sector of one.

    `devices` has NVMe's controllers as well: smartd asks them, not what they have.
    """

    pdskid: int
    capacity_gb: int
    devices: tuple[str, ...]
    whole: str = ""
    start: int = 0

    def block_of(self, device: str, sector: int) -> int | None:
        """Tell which GB of it a sector of a device is; None if it is none of it.

        What lies on several devices, or is mapped otherwise, cannot be counted through.
        """
        block = (sector - self.start) * SECTOR // GB
        inside = device == self.whole and 0 <= block < self.capacity_gb
        return block if inside else None


def find(config: StorageConfig, manager: ManagerClient, blocks: Path = BLOCKS) -> list[OurDisk]:
    """Ask the manager which disks it knows here, and the machine what they are."""
    server = server_id(config)
    if not server:
        return []
    rows = manager.rows("listPhysicalDisks", ssvrid=server)
    paths = {os.path.realpath(disk.path) for disk in config.disks}
    return [
        _disk(int(row["pdskid"]), int(row["capacity"]), path, blocks)
        for row in rows
        if (path := os.path.realpath(str(row.get("local_path", "")))) in paths
    ]


def server_id(config: StorageConfig) -> int:
    """Read which storage server this node is; 0 before it has registered."""
    path = config.state_dir / "agent.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = "SELECT value FROM facts WHERE name = ?"
        row = connection.execute(query, (SERVER_ID,)).fetchone()
    return int(row[0]) if row else 0


def _disk(pdskid: int, capacity_gb: int, path: str, blocks: Path) -> OurDisk:
    name = Path(path).name
    whole = _whole(name, blocks)
    below = {*_below(name, blocks)}
    devices = tuple(sorted(below.union(*(_controllers(one, blocks) for one in below))))
    if below != {whole}:
        return OurDisk(pdskid, capacity_gb, devices)
    start = _number(blocks / name / "start") if whole != name else 0
    return OurDisk(pdskid, capacity_gb, devices, whole, start)


def _controllers(name: str, blocks: Path) -> set[str]:
    """Name the controllers of an NVMe disk: the one that it hangs on, or all of its subsystem."""
    parent = (blocks / name / "device").resolve()
    near = [parent, *parent.iterdir()] if parent.is_dir() else []
    return {one.name for one in near if CONTROLLER.fullmatch(one.name)}


def _whole(name: str, blocks: Path) -> str:
    """Name the disk that a partition is of; a disk is one itself."""
    folder = blocks / name
    return folder.resolve().parent.name if (folder / "partition").exists() else name


def _below(name: str, blocks: Path) -> Iterator[str]:
    """Name the whole disks that a device lies on, through device mapper and partitions."""
    slaves = blocks / name / "slaves"
    under = sorted(slave.name for slave in slaves.iterdir()) if slaves.is_dir() else []
    if not under:
        yield _whole(name, blocks)
    for slave in under:
        yield from _below(slave, blocks)


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
