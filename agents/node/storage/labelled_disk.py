"""An open disk that bears our label."""

import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from agents.errors import AgentError
from agents.node.config import DiskConfig
from agents.node.storage.hardware_ids import differ
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import GB, SECTOR, Label
from agents.protocol import DiskState


class UnusableDisk(AgentError):
    """The disk is not there, not ours, or does not work. `disk` is its name, where it is known."""

    def __init__(self, message: str, code: int = errno.ENODEV, disk: str = "") -> None:
        super().__init__(code, message)
        self.disk = disk


@dataclass(slots=True)
class OpenDisk:
    """An open disk that bears our label. `error` is empty while it works.

    `gone`: what does not work is not even there any more. `refusal`: the manager's word why it is
    not to be used. `registered`: the manager knows it as this one.
    """

    config: DiskConfig
    fd: int
    identity: tuple[int, int, int]
    size: int
    label: Label
    hardware: str = ""
    error: str = ""
    gone: bool = False
    refusal: str = ""
    registered: bool = False

    @property
    def uuid(self) -> str:
        """The name that the label gives it."""
        return self.label.disk_uuid

    @property
    def super_extent(self) -> SuperExtent:
        """Its last whole GB."""
        return SuperExtent(self.fd, self.label.capacity_gb)

    @property
    def sectors(self) -> int:
        """Its size as the manager counts it; what it grew by since it was labelled is not used."""
        return self.label.capacity_gb * GB // SECTOR

    @property
    def in_use(self) -> bool:
        """Tell whether it works and is not refused."""
        return not self.error and not self.refusal

    @property
    def is_there(self) -> bool:
        """Tell whether the path still leads to this very disk."""
        try:
            return identity_of(Path(self.config.path).stat()) == self.identity
        except OSError:
            return False

    def verify(self) -> None:
        """UnusableDisk unless the path still leads to this very disk and its label is in place."""
        try:
            if identity_of(Path(self.config.path).stat()) != self.identity:
                raise UnusableDisk(f"{self.config.path} is another disk now")
            label = self.super_extent.read_label()
        except OSError as error:
            raise UnusableDisk(f"{self.config.path}: {error.strerror}", errno.EIO) from None
        if label is None or label.disk_uuid != self.uuid:
            raise UnusableDisk(f"{self.config.path} no longer bears the label {self.uuid}")

    def fail(self, error: str) -> None:
        """Use it no more; it may be opened anew once it works again."""
        self.gone = not self.is_there
        self.error = error
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    @property
    def is_copy(self) -> bool:
        """Tell whether its label was written for another device."""
        return differ(self.hardware, self.label.hardware)

    def settle(self, pdskid: int) -> None:
        """Write the manager's number, and which device this is, into the label."""
        hardware = self.hardware or self.label.hardware
        label = self.label._replace(pdskid=pdskid, hardware=hardware)
        if label != self.label:
            self.super_extent.write_label(label)
            self.label = label

    def state(self) -> DiskState:
        """Tell the manager about it."""
        label = self.label
        return DiskState(
            self.uuid,
            self.config.path,
            label.pdskid,
            label.capacity_gb,
            error=self.error,
            gone=self.gone,
            generation=0 if self.error else self.super_extent.newest_generation,
        )


def identity_of(status: os.stat_result) -> tuple[int, int, int]:
    """Tell devices by their number, files by their place: /dev may be made anew."""
    if stat.S_ISBLK(status.st_mode):
        return 0, 0, status.st_rdev
    return status.st_dev, status.st_ino, 0
