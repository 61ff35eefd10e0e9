"""Which piece of hardware a disk is, where the system knows: a copy bears the label of another."""

import os
import stat
from contextlib import suppress
from pathlib import Path

FACTS = ("wwid", "device/wwid", "device/serial", "serial", "dm/uuid")
"""Where in /sys a device tells its own name, the best first: NVMe, SCSI, virtio, device mapper."""


def hardware_of(fd: int, sys_block: Path = Path("/sys/dev/block")) -> str:
    """Name the device, or the file, by what it keeps wherever it is put; "" if that is unknown."""
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return f"file {status.st_ino}"
    device = sys_block / f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    part = _read(device / "partition")
    whole = device.resolve().parent if part else device
    for fact in FACTS:
        if value := _read(whole / fact):
            return f"{fact} {value} {part}".rstrip()
    return ""


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return " ".join(path.read_text().split())
    return ""
