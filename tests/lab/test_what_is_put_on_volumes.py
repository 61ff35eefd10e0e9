"""What users put on volumes: encryption, logical volumes; snapshots; many volumes on one head."""

import errno
import xmlrpc.client

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.guest import Guest
from tests.lab.using import attach, create, in_use, keeps_writing
from tests.lab.volumes import FILE, MOUNTED, Writer

MANY = 64
SECRET = "printf secret | cryptsetup --batch-mode --key-file -"
QUICK = "--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
SNAPSHOT = "/mnt/snapshot"
WRITE_NAME = "echo $v | dd of=/dev/vas/$v bs=4k conv=sync oflag=direct status=none"
MACHINE = (
    "timeout 1800 qemu-system-x86_64 -machine pc -accel tcg -cpu Nehalem -m 160 -nodefaults"
    " -display none -no-reboot -serial stdio"
)
DRIVE = "format=raw,if=virtio,cache=none,aio=threads"
CONSOLE = "/run/console"
READ_NAMES = "for v in /dev/vas/v[0-9]*; do head -c 5 $v | head -1; done"


def is_held(lab: VirtualLab, by: str) -> bool:
    """Tell whether a detach is refused because of what is on the volume, by name."""
    with pytest.raises(xmlrpc.client.Fault, match=by) as refused:
        lab.call("detachLogicalVolume", lvolname="db")
    return bool(refused.value.faultCode == errno.EBUSY)


def write_and_leave(head: Guest, device: str) -> None:
    """Make a file system, and write a file that can be checked."""
    volumes.make_file_system(head, device)
    with volumes.mounted(head, device):
        writer = Writer(head)
        keeps_writing(head, 10)
        assert writer.stop().error == ""


def test_an_encrypted_volume_moves_to_another_head(lab: VirtualLab) -> None:
    one, other = lab.heads
    create(lab)
    attach(lab, one)
    one.run(f"{SECRET} luksFormat {QUICK} /dev/vas/db", timeout=300)
    one.run(f"{SECRET} open /dev/vas/db secret", timeout=300)
    write_and_leave(one, "/dev/mapper/secret")
    assert is_held(lab, "dm-|secret")
    one.run("cryptsetup close secret")
    standing.detach(lab, "db")

    attach(lab, other)
    other.run(f"{SECRET} open /dev/vas/db secret", timeout=300)
    with volumes.mounted(other, "/dev/mapper/secret"):
        volumes.check(other, 10)
    other.run("cryptsetup close secret")


def test_logical_volumes_of_lvm_move_to_another_head(lab: VirtualLab) -> None:
    one, other = lab.heads
    create(lab)
    attach(lab, one)
    one.run("pvcreate -qq /dev/vas/db && vgcreate -qq users /dev/vas/db", timeout=300)
    one.run("lvcreate -qq -y -n home -L 512M users", timeout=300)
    write_and_leave(one, "/dev/users/home")
    assert is_held(lab, "dm-|users")
    one.run("vgchange -qq -an users")
    standing.detach(lab, "db")

    attach(lab, other)
    other.run("vgchange -qq -ay users --devices /dev/vas/db", timeout=300)
    with volumes.mounted(other, "/dev/users/home"):
        volumes.check(other, 10)
    other.run("vgchange -qq -an users")


def test_a_snapshot_that_is_mounted_under_load_stays_what_it_was(lab: VirtualLab) -> None:
    head = lab.heads[0]
    with in_use(lab, head):
        writer = Writer(head)
        keeps_writing(head, 10)
        head.run(f"fsfreeze -f {MOUNTED}")
        frozen = volumes.written(head)
        lab.call("createSnapshot", origin_lvolname="db", snapshot_lvolname="then")
        head.run(f"fsfreeze -u {MOUNTED}")
        keeps_writing(head, 10)

        head.run(f"mkdir -p {SNAPSHOT} && mount -o ro /dev/vas/then {SNAPSHOT}")
        digest = head.run(f"sha256sum < {SNAPSHOT}/data")
        head.run(f"rm {FILE}; sync")
        head.run(f"umount {SNAPSHOT} && mount -o ro /dev/vas/then {SNAPSHOT}")

        assert int(head.run(f"stat -c %s {SNAPSHOT}/data")) // volumes.BLOCK == frozen
        volumes.check(head, frozen - 1, f"{SNAPSHOT}/data")
        assert head.run(f"sha256sum < {SNAPSHOT}/data") == digest
        head.run(f"umount {SNAPSHOT}")
        assert writer.stop().error == ""


def test_many_volumes_are_on_one_head(lab: VirtualLab) -> None:
    head = lab.heads[0]
    names = [f"v{number}" for number in range(MANY)]
    for name in names:
        create(lab, name)
        attach(lab, head, name)

    head.run(f"for v in {' '.join(names)}; do {WRITE_NAME}; done", timeout=300)
    told = head.run(READ_NAMES, timeout=300).split()

    assert sorted(set(told)) == sorted(names)
    assert len(set(head.run("readlink -f /dev/vas/v[0-9]*").split())) == MANY


def test_a_virtual_machine_boots_from_a_volume_whose_process_is_killed(lab: VirtualLab) -> None:
    head = lab.heads[0]
    create(lab)
    attach(lab, head)
    head.run("sh /src/tests/lab/inside/bootable.sh /dev/vas/db 2>&1", timeout=300)
    head.begin(f"{MACHINE} -drive file=/dev/vas/db,{DRIVE}; echo off", CONSOLE)
    observe.wait(lambda: "SYSLINUX" in _console(head), "its boot loader runs", TIMEOUT)
    head.run("pkill -9 '^vas-'")

    observe.wait(
        lambda: "off" in _console(head).splitlines(), "it is off", 6 * TIMEOUT
    )  # a machine in a machine

    assert "started 1 times" in _console(head)
    with volumes.mounted(head, "/dev/vas/db"):
        assert head.run(f"cat {volumes.MOUNTED}/starts") == "once more"


def _console(head: Guest) -> str:
    return head.run(f"tr -d '\\r' < {CONSOLE}")
