"""Writes a file block after block with O_SYNC, and knows which blocks it has to have.

steady_writer.py FILE STOP      until there is a file STOP; tells count, longest time, error
"""

import os
import sys
import time
from pathlib import Path


def block(number: int) -> bytes:
    return b"%016d" % number * 256


def write(path: Path, stop: Path) -> None:
    """Write blocks of 4 KiB until told to stop or until one fails; the result is a line."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_SYNC)
    count, longest, error = 0, 0.0, ""
    while not stop.exists() and not error:
        began = time.monotonic()
        try:
            os.pwrite(descriptor, block(count), count * 4096)
            count += 1
        except OSError as failure:
            error = str(failure)
        longest = max(longest, time.monotonic() - began)
    print(count, round(longest, 2), error)


def check(path: Path, count: int) -> None:
    """Every block that was acknowledged is there."""
    with path.open("rb") as written:
        for number in range(count):
            assert written.read(4096) == block(number), f"block {number} is lost"


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
