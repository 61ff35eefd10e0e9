"""The main job, and the commonest bad days, with kernels and block devices as in production."""

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.place import DEVICES, DISK_GB
from tests.lab.using import STALL, attach, in_use, keeps_writing, tell
from tests.lab.volumes import Writer

GB = 1 << 30
SHAKY = DEVICES[1]
WROTE = "awk '{print $7}' /sys/block/vdc/stat /sys/block/vdd/stat"
"""Tells how many sectors each disk was written since the guest started."""
DIRTY_MIB = 256
"""More than was written meanwhile; the volume has 1024."""
FAIL = 'table="0 $(blockdev --getsz /dev/vdd) {target}"; dmsetup suspend --noflush disk-2'
FAIL += ' && dmsetup load disk-2 --table "$table" && dmsetup resume disk-2'


@pytest.fixture
def head(lab: VirtualLab) -> Guest:
    return lab.heads[0]


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
        keeps_writing(one, 20)
        written = writer.stop()
        assert written.error == ""
    standing.detach(lab, "db")

    attach(lab, other)
    with volumes.device(other, "db") as device, volumes.mounted(other, device):
        volumes.verify(other, written)


def test_a_power_cut_of_a_storage_server_is_a_short_pause(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)
        lost = standing.holders(lab, "db")[0]

        lost.kill()
        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "made whole on the others", TIMEOUT)
        lost.start()
        observe.wait(lab.is_up, "it came back by itself", TIMEOUT)

        tell("a power cut of a storage server", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)


def test_a_storage_server_that_is_back_soon_is_caught_up(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)
        lost = standing.holders(lab, "db")[0]

        lost.reset()
        lost.wait()
        keeps_writing(head)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)
        copied = sum(int(told) for told in lost.run(WROTE).split()) >> 11

        tell(f"a reset of a storage server, which was written {copied} MiB then", written)
        assert written.error == ""
        assert copied < DIRTY_MIB, "all of it was copied"
        volumes.verify(head, written)


def test_the_loss_of_one_data_network_is_a_short_pause(lab: VirtualLab, head: Guest) -> None:
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head)

        lab.cut(head, "data-a")
        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "caught up over the other", TIMEOUT)

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
        keeps_writing(head)

        guest.run(FAIL.format(target="error"))
        observe.wait(
            lambda: standing.priority(lab, number) != observe.HIGH, "the disk is out", TIMEOUT
        )
        keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole without it", TIMEOUT)
        assert number not in standing.disks(lab, "db")

        tell("a disk that fails", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)
        guest.run(FAIL.format(target="linear /dev/vdd 0"))
        lab.call("deletePhysicalDisk", pdskid=number)
        observe.wait(lab.is_up, "the disk is used again", TIMEOUT)
