"""Devices of ours that the kernel has, as sysfs tells them."""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.engines.devices.device_identity import DeviceIdentity, parse

SYS_BLOCK = Path("/sys/block")
DEV = Path("/dev")
FIRST_INDEX = 1000
"""Ours are from here on: below are those of other programs, and udev's rule knows ours by it."""
RESEND_MILLISECONDS = 1000
"""How often the kernel looks whether the connection of a request in flight was replaced."""
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A device of the kernel that is connected, or was, to a volume's process."""

    index: int
    identity: DeviceIdentity

    @property
    def name(self) -> str:
        """Name it as the kernel does."""
        return f"nbd{self.index}"

    @property
    def node(self) -> Path:
        """Where it can be opened."""
        return DEV / self.name

    @property
    def number(self) -> int:
        """Its number, as `stat` tells it of the node; 0 once it is gone."""
        with contextlib.suppress(OSError, ValueError):
            major, minor = (SYS_BLOCK / self.name / "dev").read_text().split(":")
            return os.makedev(int(major), int(minor))
        return 0

    def is_there(self) -> bool:
        """Tell whether it is still this volume's."""
        return _backend(self.index) == str(self.identity)

    def await_end(self, seconds: float) -> bool:
        """Wait until it is gone."""
        deadline = time.monotonic() + seconds
        while self.is_there():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def resend_soon(self) -> None:
        """Have requests of a connection that was replaced sent again within a second or two.

        That is done when a request's time is up, and anew each time; by itself after 30 s. While
        its connection lives, no request is given up, however long it takes.
        """
        timeout = SYS_BLOCK / self.name / "queue/io_timeout"
        timeout.write_text(f"{RESEND_MILLISECONDS}\n")

    def announce(self) -> None:
        """Tell udev what it is: at the device's first event that could not be read yet."""
        with contextlib.suppress(OSError):
            (SYS_BLOCK / self.name / "uevent").write_text("change\n")


def found(run_dir: Path) -> list[BlockDevice]:
    """List the devices of the volumes whose sockets are in that folder."""
    return [device for device in _all() if Path(device.identity.socket).parent == run_dir]


def free_indexes() -> Iterator[int]:
    """Give the numbers of ours under which no device is connected, the lowest first."""
    taken = {index for index in _indexes() if (SYS_BLOCK / f"nbd{index}/pid").exists()}
    return (index for index in itertools.count(FIRST_INDEX) if index not in taken)


def is_ours(node: str) -> bool:
    """Tell whether a path is that of a device of ours, there or gone."""
    name = Path(node).name
    numbered = name.removeprefix("nbd")
    at_home = Path(node).parent == DEV and name != numbered and numbered.isdigit()
    return at_home and int(numbered) >= FIRST_INDEX


def _all() -> Iterator[BlockDevice]:
    for index in _indexes():
        identity = parse(_backend(index))
        if identity is not None:
            yield BlockDevice(index, identity)


def _indexes() -> Iterator[int]:
    for folder in sorted(SYS_BLOCK.glob("nbd*")):
        if folder.name[3:].isdigit():
            yield int(folder.name[3:])


def _backend(index: int) -> str:
    """Read what the kernel keeps of a device that is connected; "" of any other."""
    folder = SYS_BLOCK / f"nbd{index}"
    try:
        (folder / "pid").read_text()
        return (folder / "backend").read_text().removesuffix("\n")
    except OSError:
        return ""
