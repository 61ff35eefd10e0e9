"""What may use a block device, each with the words in which a refused detach names it."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.lab.inside.head_in_a_guest import a_file_system, run


@contextlib.contextmanager
def mounted(device: Path) -> Iterator[None]:
    with a_file_system(device):
        yield


@contextlib.contextmanager
def opened(device: Path) -> Iterator[None]:
    sleeper = subprocess.Popen(["sleep", "600"], stdin=device.open("rb"))
    yield
    sleeper.kill()
    sleeper.wait()


@contextlib.contextmanager
def mapped(device: Path) -> Iterator[None]:
    run("dmsetup", "create", "over", "--table", f"0 2048 linear {device} 0")
    yield
    run("dmsetup", "remove", "over")


@contextlib.contextmanager
def in_a_volume_group(device: Path) -> Iterator[None]:
    run("pvcreate", "-ffy", device)
    run("vgcreate", "group", device)
    run("lvcreate", "-l", 8, "-n", "data", "group")
    yield
    run("vgremove", "-f", "group")
    run("pvremove", device)


@contextlib.contextmanager
def in_an_array(device: Path) -> Iterator[None]:
    run("mdadm", "--create", "/dev/md/x", "--run", "--level=1", "--force", "-n", 1, device)
    yield
    run("mdadm", "--stop", "/dev/md/x")
    run("mdadm", "--zero-superblock", device)


@contextlib.contextmanager
def swapped_to(device: Path) -> Iterator[None]:
    run("mkswap", device)
    run("swapon", device)
    yield
    run("swapoff", device)


USES: dict[Callable[[Path], contextlib.AbstractContextManager[None]], str] = {
    mounted: "it is mounted on /mnt/volume",
    opened: "(sleep) has it open",
    mapped: "/dev/mapper/over",
    in_a_volume_group: "(LVM)",
    in_an_array: "(md)",
    swapped_to: "it is swap space",
}
