"""A volume as a head's user sees it: a block device, a file system on it, a writer at work."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.guest import Guest

WRITER = "python3 /src/tests/lab/inside/writer.py"
MOUNTED = "/mnt/volume"
FILE = f"{MOUNTED}/data"
BLOCK = 64 << 10
STOP = "/run/stop"
TOLD = "/run/writer.log"


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer did: blocks, the longest time that one took, all slow ones, how it ended."""

    count: int
    longest: float
    slow: list[tuple[float, float]]
    error: str


@contextmanager
def device(head: Guest, name: str) -> Iterator[str]:
    """Tell the block device of an attached volume.

    Where /dev/vas/NAME is a socket, the kernel's NBD client makes a device of it.
    """
    if not head.attempt(f"test -S /dev/vas/{name}").status:
        head.run(f"nbd-client -unix /dev/vas/{name} /dev/nbd0 -block-size 4096 -timeout 60")
        yield "/dev/nbd0"
        head.run("nbd-client -d /dev/nbd0")
    else:
        yield head.run(f"readlink -f /dev/vas/{name}")


@contextmanager
def mounted(head: Guest, path: str) -> Iterator[None]:
    """Mount a file system, and unmount it in the end."""
    head.run(f"mkdir -p {MOUNTED} && mount {path} {MOUNTED}")
    yield
    head.run(f"umount {MOUNTED}")


@contextmanager
def opened(head: Guest, path: str) -> Iterator[None]:
    """Have somebody hold a device open."""
    head.begin(f"exec 3< {path}; while [ ! -e {STOP} ]; do sleep 0.2; done", "/dev/null")
    yield
    head.run(f"touch {STOP}; sleep 1; rm {STOP}")


def make_file_system(head: Guest, path: str) -> None:
    # A small journal: the one that it would choose is 64 MiB of zeros to write.
    head.run(f"mkfs.ext4 -q -E nodiscard -J size=4 {path}", timeout=300)


def let_go(head: Guest) -> None:
    """End what a test that failed left on a head, so that its volume can be detached."""
    head.attempt(f"touch {STOP}; sleep 1; pkill -f [w]riter.py; umount -l /mnt/*")
    head.attempt("cryptsetup close secret; vgchange -an")
    head.attempt("nbd-client -d /dev/nbd0")


class Writer:
    """A writer in a head, with O_DIRECT and O_SYNC, one block at a time."""

    def __init__(self, head: Guest) -> None:
        self._head = head
        head.run(f"rm -f {STOP} {TOLD}")
        head.begin(f"{WRITER} write {FILE} {STOP}", TOLD)

    def stop(self) -> Written:
        """Let it end; what it did."""
        self._head.run(f"touch {STOP}; while ! grep -qs error {TOLD}; do sleep 0.2; done")
        return Written(**json.loads(self._head.run(f"cat {TOLD}")))


def written(head: Guest) -> int:
    """Tell how many blocks the writer has begun to write."""
    return int(head.run(f"stat -c %s {FILE} 2>/dev/null || echo 0")) // BLOCK


def verify(head: Guest, written: Written) -> None:
    """Read each block from the device; all that was acknowledged is there."""
    check(head, written.count)


def check(head: Guest, count: int, path: str = FILE) -> None:
    """Read so many blocks of a file; each is what a writer wrote."""
    head.run(f"{WRITER} check {path} {count}", timeout=120)
