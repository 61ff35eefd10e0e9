"""A disk is known wherever it turns up, or refused with a sentence; never labelled anew."""

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage import disks as disks_module
from agents.node.storage import label_search, recognition
from agents.node.storage.disks import Disks
from agents.node.storage.labelled_disk import UnusableDisk
from agents.node.storage.recognition import open_disk
from agents.ondisk import GB, MIB, Mark, label_offsets, mark_offset, pack_mark

CLUSTER = "c1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state" / "agent.db")
    yield store
    store.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[StateStore]:
    """What an agent remembers that never saw the disk."""
    store = StateStore(tmp_path / "elsewhere" / "agent.db")
    yield store
    store.close()


@pytest.fixture
def path(tmp_path: Path, store: StateStore) -> Path:
    """A disk of 4 GB that bears our label."""
    path = tmp_path / "disk.img"
    take(store, path, create_gb=4)
    return path


def take(store: StateStore, path: Path, **settings: object) -> str:
    """Open a disk as an agent would, and close it again; its name."""
    disk = open_disk(DiskConfig(str(path), **settings), CLUSTER, store)  # type: ignore[arg-type]
    os.close(disk.fd)
    return disk.uuid


def refusal(store: StateStore, path: Path, *, initialize: bool) -> str:
    """Why a disk is refused; nothing of it is changed, and nobody is told to overwrite it."""
    size, blocks = path.stat().st_size, path.stat().st_blocks
    with pytest.raises(UnusableDisk) as refused:
        take(store, path, initialize=initialize)
    assert (path.stat().st_size, path.stat().st_blocks) == (size, blocks)
    assert "initialize" not in str(refused.value)
    return str(refused.value)


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(data)


def wipe_labels(path: Path, *, with_magic: bool) -> None:
    for offset in label_offsets(4):
        write(path, offset + (0 if with_magic else 100), b"garbage")


either_way = pytest.mark.parametrize("initialize", [False, True])


@either_way
def test_a_disk_is_known_on_a_larger_one_at_another_path_and_node(
    path: Path, store: StateStore, elsewhere: StateStore, *, initialize: bool
) -> None:
    name = take(store, path)
    larger = path.rename(path.with_name("larger.img"))
    os.truncate(larger, 9 * GB + 12345 * 512)
    write(larger, 8 * GB + 17, b"what was on the larger disk before")

    disk = open_disk(DiskConfig(str(larger), initialize=initialize), CLUSTER, elsewhere)
    os.close(disk.fd)

    assert (disk.uuid, disk.label.capacity_gb, disk.sectors) == (name, 4, 4 << 21)


def test_a_bad_block_behind_what_was_labelled_is_no_matter(
    path: Path, elsewhere: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(path, 6 * GB)
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset // GB == 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, size, offset)

    monkeypatch.setattr("os.pread", pread)
    assert take(elsewhere, path)

    os.truncate(path, 4 * GB)
    monkeypatch.setattr("os.pread", lambda *_: pread(0, 0, 5 * GB))
    with pytest.raises(OSError, match="Input/output"):
        take(elsewhere, path)


@either_way
@pytest.mark.parametrize("bytes_left", [3 * GB + 8192, 3 * GB + 512 * MIB, 4 * GB - 512])
def test_a_disk_smaller_than_its_label_is_refused(
    path: Path, elsewhere: StateStore, bytes_left: int, *, initialize: bool
) -> None:
    os.truncate(path, bytes_left)

    assert "it was cut" in refusal(elsewhere, path, initialize=initialize)


@either_way
def test_a_disk_that_was_cut_below_its_label_is_refused_where_it_is_known(
    path: Path, store: StateStore, *, initialize: bool
) -> None:
    os.truncate(path, 3 * GB)

    assert "may be a part of it" in refusal(store, path, initialize=initialize)


def test_a_part_of_a_disk_is_refused_where_it_is_not_known(
    path: Path, elsewhere: StateStore
) -> None:
    write(path, GB, b"a customer's data")
    os.truncate(path, 3 * GB)

    assert refusal(elsewhere, path, initialize=False) == "it holds data at GB 1"


@either_way
def test_a_disk_with_a_damaged_label_is_refused(
    path: Path, elsewhere: StateStore, *, initialize: bool
) -> None:
    wipe_labels(path, with_magic=False)

    assert "damaged" in refusal(elsewhere, path, initialize=initialize)


@either_way
def test_a_disk_without_a_label_whose_marks_are_there_is_refused(
    path: Path, elsewhere: StateStore, *, initialize: bool
) -> None:
    wipe_labels(path, with_magic=True)
    write(path, mark_offset(4, 1), pack_mark(Mark(7, 3, clean=False)))

    assert "damaged" in refusal(elsewhere, path, initialize=initialize)


def test_a_new_disk_larger_than_the_one_before_is_taken_in(path: Path, store: StateStore) -> None:
    name = take(store, path)
    path.unlink()
    path.touch()
    os.truncate(path, 6 * GB)

    assert take(store, path) != name


@pytest.fixture
def as_a_device() -> Iterator[Callable[[Path, int], Path]]:
    """Show a file as a block device with logical blocks of a size; needs root."""
    shown: list[str] = []

    def show(path: Path, block: int) -> Path:
        for device in shown:
            subprocess.run(["losetup", "--detach", device], check=True)
        command = ["losetup", "--find", "--show", f"--sector-size={block}", str(path)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no loop device here: {made.stderr}")
        shown[:] = [made.stdout.strip()]
        return Path(shown[0])

    yield show
    for device in shown:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_disk_is_known_behind_another_size_of_logical_block(
    path: Path, store: StateStore, elsewhere: StateStore, as_a_device: Callable[[Path, int], Path]
) -> None:
    name = take(store, path)

    assert [take(elsewhere, as_a_device(path, block)) for block in (512, 4096)] == [name, name]


# -- two with one label ---------------------------------------------------------------------------


@pytest.fixture
def copy(path: Path) -> Path:
    """A copy of the disk, beside it."""
    copy = path.with_name("a-copy.img")
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    return copy


def in_use(disks: Disks) -> list[str]:
    return [disk.config.path for disk in disks if disk.in_use]


def test_of_two_disks_with_one_label_the_second_is_refused_whatever_the_order(
    path: Path, copy: Path, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognition, "hardware_of", lambda _: "")
    disks = Disks(store)
    disks.open_all([DiskConfig(str(path))], CLUSTER)
    (name,) = (disk.uuid for disk in disks)
    disks.close()

    for order in ([copy, path], [path, copy]):
        disks = Disks(store)
        disks.open_all([DiskConfig(str(one)) for one in order], CLUSTER)
        assert in_use(disks) == [str(path)]
        (refused,) = disks.refused
        assert (refused.local_path, refused.disk) == (str(copy), name)
        assert f"as {path} does, which is in use" in refused.reason
        disks.close()


def test_a_copy_does_not_take_the_place_of_a_disk_that_fails_but_is_there(
    path: Path, copy: Path, store: StateStore
) -> None:
    disks = Disks(store)
    disks.open_all([DiskConfig(str(path))], CLUSTER)
    (disk,) = disks
    disk.fail("Input/output error")

    disks.open_all([DiskConfig(str(copy))], CLUSTER)
    assert (in_use(disks), len(disks.refused)) == ([], 1)

    path.unlink()
    disks.open_all([DiskConfig(str(copy))], CLUSTER)
    assert (in_use(disks), disks.refused) == ([str(copy)], ())
    disks.close()


# -- searching takes long -------------------------------------------------------------------------


def test_a_large_disk_is_searched_in_the_background(
    path: Path, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(path, 6 * GB)
    other = path.with_name("other.img")
    take(store, other, create_gb=2)
    goes_on = threading.Event()
    real = label_search.search_path
    monkeypatch.setattr(disks_module, "SOON", 0.05)
    monkeypatch.setattr(label_search, "search_path", lambda one: goes_on.wait(10) and real(one))
    configs = [DiskConfig(str(path)), DiskConfig(str(other))]
    disks = Disks(store)

    disks.open_all(configs, CLUSTER)
    assert in_use(disks) == [str(other)]
    assert [refused.reason for refused in disks.refused] == [
        "it is being searched for a label of ours"
    ]

    goes_on.set()
    monkeypatch.setattr(disks_module, "SOON", 10)
    disks.open_all(configs, CLUSTER)
    assert sorted(in_use(disks)) == sorted([str(path), str(other)])
    disks.close()


def test_a_refused_disk_is_not_searched_again_until_it_looks_different(
    tmp_path: Path, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign.img"
    foreign.touch()
    os.truncate(foreign, 3 * GB)
    write(foreign, 512, b"EFI PART")
    searched: list[str] = []
    real = label_search.search_path

    def counted(one: str) -> label_search.Traces:
        searched.append(one)
        return real(one)

    monkeypatch.setattr(label_search, "search_path", counted)
    disks = Disks(store)

    for _ in range(5):
        disks.open_all([DiskConfig(str(foreign))], CLUSTER)
    assert [refused.reason for refused in disks.refused] == ["it holds a GPT partition table"]
    assert len(searched) == 1

    write(foreign, 512, bytes(8))
    disks.open_all([DiskConfig(str(foreign))], CLUSTER)
    assert (in_use(disks), len(searched)) == ([str(foreign)], 2)
    disks.close()
