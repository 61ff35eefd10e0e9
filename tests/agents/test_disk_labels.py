"""Which disks an agent takes, which it refuses, and that a label lasts."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.disks import Disks, OpenDisk, UnusableDisk, open_disk
from agents.ondisk import GB, MIB, label_offsets
from agents.protocol import ExtentRef


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state" / "agent.db")
    yield store
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A blank disk of 4 GB."""
    path = tmp_path / "disk.img"
    with path.open("wb") as disk:
        disk.truncate(4 * GB)
    return path


def take(
    store: StateStore, path: Path, cluster: str = "c1", *, initialize: bool = False
) -> OpenDisk:
    """Open a disk as an agent would; it is closed again, its label stays."""
    disk = open_disk(DiskConfig(str(path), initialize=initialize), cluster, store)
    os.close(disk.fd)
    return disk


def test_a_blank_disk_is_labelled_and_known_again(store: StateStore, path: Path) -> None:
    first = take(store, path)

    assert first.label.capacity_gb == 4
    assert take(store, path).label == first.label


FOREIGN = {
    "GPT": (512, b"EFI PART"),
    "boot sector": (510, b"\x55\xaa"),
    "ext": (1080, b"\x53\xef"),
    "xfs": (0, b"XFSB"),
    "btrfs": (65600, b"_BHRfS_M"),
    "LVM": (536, b"LVM2 001"),
    "md": (4096, b"\xfc\x4e\x2b\xa9"),
    "LUKS": (0, b"LUKS\xba\xbe"),
    "swap": (4086, b"SWAPSPACE2"),
    "first MiB": (700000, b"x"),
    "last MiB": (4 * GB - 10, b"x"),
}


@pytest.mark.parametrize(("what", "place"), FOREIGN.items())
def test_somebody_elses_disk_is_refused_untouched(
    store: StateStore, path: Path, what: str, place: tuple[int, bytes]
) -> None:
    with path.open("r+b") as disk:
        disk.seek(place[0])
        disk.write(place[1])
    blocks = path.stat().st_blocks

    with pytest.raises(UnusableDisk, match=what):
        take(store, path)
    assert path.stat().st_blocks == blocks

    assert take(store, path, initialize=True).label.cluster == "c1"


def test_another_clusters_disk_is_refused(store: StateStore, path: Path) -> None:
    take(store, path, "c2")

    with pytest.raises(UnusableDisk, match="cluster c2"):
        take(store, path, "c1")


def test_the_word_initialize_does_not_harm_our_own_disk(store: StateStore, path: Path) -> None:
    first = take(store, path)

    assert take(store, path, initialize=True).label == first.label


def test_a_torn_label_is_read_from_its_second_replica(store: StateStore, path: Path) -> None:
    first = take(store, path)
    with path.open("r+b") as disk:
        disk.seek(3 * GB)
        disk.write(b"torn" * 500)

    assert take(store, path).label == first.label


def test_a_label_on_a_bad_block_is_read_from_its_second_copy(
    store: StateStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, pread = take(store, path), os.pread

    def broken(fd: int, size: int, offset: int) -> bytes:
        if offset == 3 * GB:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", broken)

    assert take(store, path).label == first.label


def test_a_disk_that_grew_is_known_by_its_label(store: StateStore, path: Path) -> None:
    before = take(store, path)
    os.truncate(path, 6 * GB)

    assert take(store, path).label == before.label


def test_a_disk_that_shrank_or_went_away_is_not_made_anew(store: StateStore, path: Path) -> None:
    take(store, path)
    os.truncate(path, 3 * GB)
    with pytest.raises(UnusableDisk, match="was here"):
        take(store, path)

    path.unlink()
    with pytest.raises(UnusableDisk, match="is gone"):
        open_disk(DiskConfig(str(path), create_gb=4), "c1", store)
    assert not path.exists()


def test_a_disk_that_was_copied_to_a_larger_one_is_known_again(
    store: StateStore, path: Path, tmp_path: Path
) -> None:
    before = take(store, path)
    larger = path.rename(tmp_path / "a-larger-disk.img")
    os.truncate(larger, 7 * GB)

    after = take(store, larger)

    assert after.label == before.label
    assert take(store, larger).label == before.label


@pytest.mark.parametrize("used", [False, True])
def test_a_disk_whose_label_is_damaged_twice_is_refused_untouched(
    store: StateStore, path: Path, *, used: bool
) -> None:
    disk = open_disk(DiskConfig(str(path)), "c1", store)
    if used:
        disk.super_extent.set_age(0, 1, 2)
    for offset in label_offsets(4):
        os.pwrite(disk.fd, b"?", offset + 100)
    os.close(disk.fd)

    def begin_of_super() -> bytes:
        with path.open("rb") as disk:
            disk.seek(label_offsets(4)[0])
            return disk.read(2 * MIB)

    before = begin_of_super()

    with pytest.raises(UnusableDisk, match="damaged"):
        take(store, path)

    assert begin_of_super() == before


def test_a_disk_whose_first_label_was_torn_by_a_power_cut_is_labelled(
    store: StateStore, path: Path
) -> None:
    with path.open("r+b") as disk:
        disk.seek(label_offsets(4)[0])
        disk.write(b"VASLABL1 and no more")

    assert take(store, path).label.capacity_gb == 4


def test_a_missing_file_is_created_sparse(store: StateStore, tmp_path: Path) -> None:
    path = tmp_path / "new.img"
    os.close(open_disk(DiskConfig(str(path), create_gb=64), "c1", store).fd)

    assert path.stat().st_size == 64 * GB
    assert path.stat().st_blocks * 512 < 4 * MIB


def test_a_tiny_disk_is_refused(store: StateStore, tmp_path: Path) -> None:
    path = tmp_path / "tiny.img"
    path.write_bytes(bytes(MIB))

    with pytest.raises(UnusableDisk, match="from 2 to"):
        take(store, path)


def test_two_agents_do_not_share_a_disk(store: StateStore, path: Path) -> None:
    held = open_disk(DiskConfig(str(path)), "c1", store)
    try:
        with pytest.raises(UnusableDisk, match="another agent"):
            take(store, path)
    finally:
        os.close(held.fd)


def test_an_order_for_a_disk_whose_label_changed_is_refused(store: StateStore, path: Path) -> None:
    disks = Disks(store)
    disks.open_all([DiskConfig(str(path))], "c1")
    (disk,) = disks
    try:
        extent = ExtentRef(1, 1, disk.uuid, 0, 1)
        assert disks.locate(extent) is disk

        with path.open("r+b") as file:
            file.seek(3 * GB)
            file.write(bytes(8192))
        with pytest.raises(UnusableDisk, match="no longer bears"):
            disks.locate(extent)
    finally:
        disks.close()


@pytest.mark.parametrize(("offset", "size"), [(3, 1), (0, 4), (-1, 1), (0, 0), (100, 1)])
def test_an_extent_outside_of_the_usable_space_is_refused(
    store: StateStore, path: Path, offset: int, size: int
) -> None:
    disks = Disks(store)
    disks.open_all([DiskConfig(str(path))], "c1")
    (disk,) = disks
    try:
        with pytest.raises(UnusableDisk, match="outside"):
            disks.locate(ExtentRef(1, 1, disk.uuid, offset, size))
    finally:
        disks.close()
