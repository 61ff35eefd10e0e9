"""Where the lab keeps what, on this machine and in its guests; who is in it, and at which address.

The addresses exist in the lab's own network namespace only, so every lab has the same ones.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.local.place import ROOT

CACHE = Path(
    os.environ.get("LAB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vastsky-lab"
)
"""The image, from one lab to the next."""
RUN = CACHE / "run"
"""Everything else: a file system in memory, which only the processes of one lab see."""
INSIDE = ROOT / "tests" / "lab" / "inside"
"""What runs in guests."""

ENGINE = os.environ.get("LAB_ENGINE") or "userspace"
"""What moves the bytes: a node's setting `engine`. With the kernel, one head stays as it is: so
volumes go from one engine to the other."""
EMBEDDED = "head-2"

NETWORKS = ("management", "data-a", "data-b")
CONTROL = 9
"""The place of the lab's own addresses, on the cables of the first network: commands to guests come
over them, also where the cluster's own addresses cannot be reached."""
CONTROL_PORT = 7700
MANAGER_PORT = 8881
MANAGER = 1

DISKS = 2
DISK_GB = int(os.environ.get("LAB_DISK_GB") or 26)
DEVICES = ("/dev/vdc", "/dev/mapper/disk-2")
"""A storage server's disks: a device as it is, and one through the device mapper, which can be told
to fail."""

TELLING = "storage-4"
"""A guest with two further disks that nobody uses and that have SMART: an ATA one, and an NVMe one
with a sector that cannot be read."""
TELLING_GB = 3
BAD_SECTOR = 1 << 21 | 4096
"""In the second GB."""


def address(network: int, number: int) -> str:
    """Tell a machine's address in a network."""
    return f"10.77.{network}.{number}"


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest's name, its number, and what it is to the cluster."""

    name: str
    number: int

    @property
    def role(self) -> str:
        return self.name.partition("-")[0]

    @property
    def engine(self) -> str:
        """Name what moves its bytes."""
        return "userspace" if self.name == EMBEDDED else ENGINE

    @property
    def addresses(self) -> list[str]:
        """Name its addresses in the two data networks."""
        return [address(1, self.number), address(2, self.number)]

    @property
    def control(self) -> str:
        """Name the address at which the lab gives it commands."""
        return address(CONTROL, self.number)

    @property
    def disks(self) -> list[Path]:
        """Name the files that are its disks."""
        count = DISKS if self.role == "storage" else 0
        return [RUN / f"{self.name}-disk-{number}.qcow2" for number in range(1, count + 1)]

    @property
    def telling_disks(self) -> dict[str, Path]:
        """Name the files of the disks that have SMART."""
        kinds = ("ata", "nvme") if self.name == TELLING else ()
        return {kind: RUN / f"{self.name}-{kind}.qcow2" for kind in kinds}

    @property
    def hardware(self) -> Path:
        """Name the socket over which its hardware is changed."""
        return RUN / f"{self.name}.qmp"

    @property
    def state(self) -> Path:
        """Name the file that is the disk on which it keeps what outlives a power cut."""
        return RUN / f"{self.name}-state.img"

    @property
    def console(self) -> Path:
        return RUN / "logs" / f"{self.name}-console.log"


MACHINES = (
    *(GuestSpec(f"head-{number}", 10 + number) for number in (1, 2)),
    *(GuestSpec(f"storage-{number}", 20 + number) for number in (1, 2, 3, 4)),
)
