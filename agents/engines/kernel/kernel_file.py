"""Short files of sysfs, whose content the kernel makes anew for each time that it is asked."""

import os
from pathlib import Path

BLOCK = Path("/sys/block")
ROOM = 4096
"""The kernel's own bound for such a file."""


def read_once(path: Path | str) -> str:
    """Read a file in one piece, as cheaply as it can be done: there are hundreds.

    Who reads on until there is nothing more gets the end of a newer, longer content, too.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, ROOM).decode().strip()
    finally:
        os.close(descriptor)
