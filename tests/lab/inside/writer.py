"""Writes a file block after block, past all memory, and later tells whether each block is there.

    writer.py write FILE STOP    until there is a file STOP; the result is a line of JSON
    writer.py check FILE COUNT   whether the first COUNT blocks are what was written

A block tells its number and has a checksum. It counts once the kernel has said, for O_DIRECT and
O_SYNC, that it is on stable storage. Standard library only.
"""

import hashlib
import json
import mmap
import os
import sys
import time
from pathlib import Path

BLOCK = 64 << 10
PAUSE = 0.01
NOTED = 0.5
"""Seconds; writes that took longer are told one by one."""


def main(verb: str, path: str, word: str) -> int:
    if verb == "write":
        print(json.dumps(write(path, word)), flush=True)
        return 0
    wrong = check(path, int(word))
    print(json.dumps({"wrong": wrong}))
    return int(bool(wrong))


def block(number: int) -> bytes:
    """Make a block of which no 48 bytes are those of another block."""
    digest = hashlib.sha256(b"%d" % number).digest()
    return (b"%016d" % number + digest) * (BLOCK // 48) + bytes(BLOCK % 48)


def write(path: str, stop: str) -> dict[str, object]:
    """Write until told to stop, or until a write fails."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DIRECT | os.O_SYNC, 0o600)
    memory = mmap.mmap(-1, BLOCK)  # aligned, as O_DIRECT wants it
    began, count, longest, slow = time.monotonic(), 0, 0.0, []
    error = ""
    while not Path(stop).exists():
        memory[:] = block(count)
        before = time.monotonic()
        try:
            os.pwrite(descriptor, memory, count * BLOCK)
        except OSError as failure:
            error = str(failure)
            break
        taken = time.monotonic() - before
        count, longest = count + 1, max(longest, taken)
        if taken > NOTED:
            slow.append((round(before - began, 1), round(taken, 1)))
        time.sleep(PAUSE)
    return {"count": count, "longest": round(longest, 2), "slow": slow, "error": error}


def check(path: str, count: int) -> list[int]:
    """Read from the device, not from memory; the numbers of blocks that are not as written."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, BLOCK)
    wrong = []
    for number in range(count):
        got = os.preadv(descriptor, [memory], number * BLOCK)
        if got != BLOCK or memory[:] != block(number):
            wrong.append(number)
    return wrong


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
