"""A volume in use in a head of the lab: created, attached, with a file system, written to."""

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.volumes import Written

STALL = 30
"""Seconds that a write may take while a replica is being given up: the engine's timeout, and what
guests take that share two cores with whatever else runs there."""


def create(lab: VirtualLab, name: str = "db") -> None:
    """Create a small volume."""
    lab.call("createLogicalVolume", lvolname=name, capacity=1)


def attach(lab: VirtualLab, head: Guest, name: str = "db") -> None:
    """Attach a volume to a head."""
    lab.call("attachLogicalVolume", lvolname=name, hsvrid=standing.server(lab, head))


def mount(head: Guest) -> str:
    """Mount an attached volume that has a file system, and leave it so; its device."""
    with volumes.device(head, "db") as device:
        head.run(f"mkdir -p {volumes.MOUNTED} && mount {device} {volumes.MOUNTED}")
        return device


@contextmanager
def in_use(lab: VirtualLab, head: Guest) -> Iterator[None]:
    """Have a small volume with a file system, mounted: devices have no holes, all is copied."""
    create(lab)
    attach(lab, head)
    with volumes.device(head, "db") as device:
        volumes.make_file_system(head, device)
        with volumes.mounted(head, device):
            yield


def keeps_writing(head: Guest, count: int = 3) -> None:
    """Wait until the writer has written some more blocks."""
    wanted = volumes.written(head) + count
    observe.wait(lambda: volumes.written(head) >= wanted, "it writes", TIMEOUT)


def tell(what: str, written: Written) -> None:
    """Print what a writer saw of something."""
    print(f"\n{what}: {written.count} blocks, the longest write took {written.longest} s", end="")
