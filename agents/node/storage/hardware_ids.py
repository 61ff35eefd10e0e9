"""Which piece of hardware a disk is, where the system knows: a copy bears the label of another."""

import os
import stat
from contextlib import suppress
from pathlib import Path

FACTS = ("wwid", "device/wwid", "device/serial", "serial", "dm/uuid")
"""Where in /sys a device tells its own name, the best first: NVMe, SCSI, virtio, device mapper."""
FILE = "file"


def hardware_of(fd: int) -> str:
    """Name the device, or the file, by what it keeps wherever it is put; "" if that is unknown."""
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode):
        return f"{FILE} {status.st_ino}"
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return device_name(Path("/sys/dev/block") / number)


def device_name(device: Path) -> str:
    """Name a device by what its folder in /sys tells; a partition by its disk and number."""
    part = _read(device / "partition")
    whole = device.resolve().parent if part else device
    for fact in FACTS:
        if value := _read(whole / fact):
            return f"{fact} {value} {part}".rstrip()
    return ""


def differ(one: str, other: str) -> bool:
    """Tell whether two names are surely of two things.

    One device may be named by another of its facts, once it is reached by another driver.
    """
    if not one or not other:
        return False
    kinds = {name.partition(" ")[0] for name in (one, other)}
    return one != other and (len(kinds) == 1 or FILE in kinds)


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return " ".join(path.read_text().split())
    return ""
