"""Which volume, of which epoch, a device of the kernel is: written down in the kernel itself.

The kernel keeps the text as the device's backend identifier (/sys/block/nbdN/backend) and gives a
new connection only to who names the very same. A udev rule takes words out of it by their number.
"""

import re
from dataclasses import dataclass

from agents.engines.userspace.head.published_device import epoch_export

PATTERN = re.compile(
    r"vastsky epoch (\d+) group lvol-([0-9a-f]{8}) device lvol-([0-9a-f]{8})"
    r" name (\S+) socket (/.+)"
)
DEVICE_WORD, NAME_WORD = 7, 9


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """A volume of a group in one epoch, its name, and the socket where it is served."""

    epoch: int
    group: int
    lvolid: int
    name: str
    socket: str

    def __str__(self) -> str:
        """Write it as the kernel keeps it."""
        return (
            f"vastsky epoch {self.epoch} group lvol-{self.group:08x}"
            f" device lvol-{self.lvolid:08x} name {self.name} socket {self.socket}"
        )

    @property
    def export(self) -> str:
        """Name the export that only the process of this epoch serves."""
        return epoch_export(self.epoch)


def parse(text: str) -> DeviceIdentity | None:
    """Read a backend identifier; None if it is not one of ours."""
    found = PATTERN.fullmatch(text)
    if found is None:
        return None
    epoch, group, lvolid, name, socket = found.groups()
    return DeviceIdentity(int(epoch), int(group, 16), int(lvolid, 16), name, socket)
