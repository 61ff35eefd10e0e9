"""The main job, and the commonest bad days, with kernels and block devices as in production."""

import contextlib
from collections.abc import Iterator

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import PATIENCE, VirtualLab
from tests.lab.guest import Guest
from tests.lab.place import DEVICES, DISK_GB
from tests.lab.volumes import Writer, Written

GB = 1 << 30
STALL = 30
"""Seconds that a write may take while a replica is being given up: the engine's patience, and what
guests take that share two cores with whatever else runs there."""
SHAKY = DEVICES[1]
FAIL = 'table="0 $(blockdev --getsz /dev/vdd) {target}"; dmsetup suspend --noflush disk-2'
FAIL += ' && dmsetup load disk-2 --table "$table" && dmsetup resume disk-2'


@pytest.fixture
def head(lab: VirtualLab) -> Guest:
    return lab.heads[0]


def attach(lab: VirtualLab, head: Guest, name: str = "db") -> None:
    lab.call("attachLogicalVolume", lvolname=name, hsvrid=standing.server(lab, head))


@contextlib.contextmanager
def in_use(lab: VirtualLab, head: Guest) -> Iterator[None]:
    """Have a small volume with a file system, mounted: devices have no holes, all is copied."""
    lab.call("createLogicalVolume", lvolname="db", capacity=1)
    attach(lab, head)
    with volumes.device(head, "db") as device:
        volumes.make_file_system(head, device)
        with volumes.mounted(head, device):
            yield


def tell(what: str, written: Written) -> None:
    print(f"\n{what}: {written.count} blocks, the longest write took {written.longest} s", end="")


def grows(head: Guest, count: int = 3) -> None:
    """Wait until the writer has written some more."""
    wanted = volumes.written(head) + count
    observe.wait(lambda: volumes.written(head) >= wanted, "it writes", PATIENCE)


def test_every_disk_of_the_cluster_is_a_block_device_of_the_size_that_it_has(
    lab: VirtualLab,
) -> None:
    disks = lab.call("listPhysicalDisks")

    assert sorted(disk["local_path"] for disk in disks) == sorted(DEVICES * len(lab.storages))
    assert {disk["capacity"] for disk in disks} == {DISK_GB}
    for guest in lab.storages:
        for path in DEVICES:
            size = guest.run(f"test -b {path} && blockdev --getsize64 {path}")
            assert int(size) == DISK_GB * GB


def test_a_file_system_moves_from_head_to_head_with_every_byte(lab: VirtualLab) -> None:
    one, other = lab.heads
    with in_use(lab, one):
        writer = Writer(one)
        grows(one, 20)
        written = writer.stop()
        assert written.error == ""
    standing.detach(lab, "db")

    attach(lab, other)
    with volumes.device(other, "db") as device, volumes.mounted(other, device):
        volumes.verify(other, written)


def test_a_power_cut_of_a_storage_server_is_a_short_pause(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        grows(head)
        lost = standing.holders(lab, "db")[0]

        lost.kill()
        grows(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "made whole on the others", PATIENCE)
        lost.start()
        observe.wait(lab.is_up, "it came back by itself", PATIENCE)

        tell("a power cut of a storage server", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_a_storage_server_that_is_back_soon_is_caught_up(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        grows(head)
        lost = standing.holders(lab, "db")[0]

        lost.reset()
        lost.wait()
        grows(head)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", PATIENCE)

        tell("a reset of a storage server", written)
        assert written.error == ""
        volumes.verify(head, written)


def test_the_loss_of_one_data_network_is_a_short_pause(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        grows(head)

        lab.cut(head, "data-a")
        grows(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "caught up over the other", PATIENCE)

        tell("the loss of one data network", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_a_disk_that_fails_is_replaced_and_used_again_once_it_works_and_was_deleted(
    lab: VirtualLab, head: Guest
) -> None:
    # The emptiest disks come first: with this, those that can be told to fail.
    lab.call("createLogicalVolume", lvolname="filler", capacity=3)
    with in_use(lab, head):
        number, guest = standing.holder_on(lab, SHAKY, "db")
        writer = Writer(head)
        grows(head)

        guest.run(FAIL.format(target="error"))
        observe.wait(
            lambda: standing.priority(lab, number) != observe.HIGH, "the disk is out", PATIENCE
        )
        grows(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole without it", PATIENCE)
        assert number not in standing.disks(lab, "db")

        tell("a disk that fails", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)
        guest.run(FAIL.format(target="linear /dev/vdd 0"))
        lab.call("deletePhysicalDisk", pdskid=number)
        observe.wait(lab.is_up, "the disk is used again", PATIENCE)
