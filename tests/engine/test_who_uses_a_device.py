"""Who uses a block device, read from files as a kernel has them under /sys and /proc."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.engines.devices.block_device import BlockDevice
from agents.engines.devices.device_identity import DeviceIdentity
from agents.engines.devices.users import holders, openers
from tests.engine.fake_kernel import FakeKernel

DEVICE = BlockDevice(1000, DeviceIdentity(1, 7, 7, "vol", "/run/v00000007.sock"))
MOUNT = "36 1 {number} / {place} rw,relatime shared:1 - {kind} {source} rw\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel(tmp_path)
    fake.install(monkeypatch)
    for part, number in (("", "43:32000"), ("nbd1000p1", "43:32001")):
        folder = fake.sys / "nbd1000" / part
        (folder / "holders").mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
    (fake.sys / "nbd1000/nbd1000p1/partition").write_text("1\n")
    (fake.proc / "swaps").write_text("Filename Type Size Used Priority\n")
    return fake


def process(kernel: FakeKernel, pid: int, namespace: str, mounts: str) -> Path:
    folder = kernel.proc / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "fd").mkdir()
    (folder / "ns/mnt").symlink_to(namespace)
    (folder / "mountinfo").write_text(mounts)
    (folder / "comm").write_text("postgres\n")
    return folder


def hold(folder: Path, name: str, uuid: str) -> None:
    (folder / "dm").mkdir(parents=True)
    (folder / "dm/name").write_text(f"{name}\n")
    (folder / "dm/uuid").write_text(f"{uuid}\n")


def by_lvm(kernel: FakeKernel) -> None:
    hold(kernel.sys / "nbd1000/holders/dm-0", "data-home", "LVM-abcdef")


def by_a_cipher_on_a_partition(kernel: FakeKernel) -> None:
    hold(kernel.sys / "nbd1000/nbd1000p1/holders/dm-1", "secret", "CRYPT-LUKS2-1")


def by_an_array(kernel: FakeKernel) -> None:
    (kernel.sys / "nbd1000/holders/md127/md").mkdir(parents=True)


def by_a_mount(kernel: FakeKernel) -> None:
    line = MOUNT.format(number="43:32000", place="/srv/my\\040data", kind="ext4", source="/dev/x")
    process(kernel, 1, "mnt:[1]", line)


def by_a_mount_in_a_container(kernel: FakeKernel) -> None:
    process(kernel, 1, "mnt:[1]", "")
    line = MOUNT.format(number="43:32001", place="/data", kind="xfs", source="/dev/x")
    process(kernel, 99, "mnt:[2]", line)


def by_a_mount_with_a_number_of_its_own(kernel: FakeKernel) -> None:
    source = kernel.dev / "nbd1000"
    process(kernel, 1, "a", MOUNT.format(number="0:44", place="/b", kind="btrfs", source=source))


def by_swap(kernel: FakeKernel) -> None:
    with (kernel.proc / "swaps").open("a") as swaps:
        swaps.write(f"{kernel.dev}/nbd1000p1 partition 1024 0 -2\n")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (by_lvm, "it is part of {dev}/mapper/data-home (LVM)"),
        (by_a_cipher_on_a_partition, "it is part of {dev}/mapper/secret (dm-crypt)"),
        (by_an_array, "it is part of the array md127 (md)"),
        (by_a_mount, "it is mounted on /srv/my data"),
        (by_a_mount_in_a_container, "it is mounted on /data"),
        (by_a_mount_with_a_number_of_its_own, "it is mounted on /b"),
        (by_swap, "it is swap space"),
    ],
)
def test_what_is_built_on_a_device_is_named(
    kernel: FakeKernel, use: Callable[[FakeKernel], None], words: str
) -> None:
    assert holders(DEVICE) == []

    use(kernel)

    assert holders(DEVICE) == [words.format(dev=kernel.dev)]


def test_mounts_of_other_devices_are_no_use_of_this_one(kernel: FakeKernel) -> None:
    line = MOUNT.format(number="43:3200", place="/", kind="ext4", source="/dev/nbd100")
    process(kernel, 1, "mnt:[1]", line)

    assert holders(DEVICE) == []


def test_a_process_that_merely_has_it_open_is_named_too(kernel: FakeKernel) -> None:
    """Of descriptors the kernel tells the number of the device; here that of a real one."""
    number = Path("/dev/null").stat().st_rdev
    (kernel.sys / "nbd1000/dev").write_text(f"{number >> 8}:{number & 255}\n")
    descriptor = process(kernel, 4242, "mnt:[1]", "") / "fd/3"
    assert list(openers(DEVICE)) == []

    descriptor.symlink_to("/dev/null")

    assert list(openers(DEVICE)) == ["process 4242 (postgres) has it open"]
