"""What was ever written to a disk is read for ever, and a format that is newer is left alone."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import ondisk
from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.disks import Disks
from agents.node.storage.recognition import open_disk
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import GB, LABEL_BYTES, MARK_BYTES, MIB, Descriptor, Label, Mark, NewerLabel
from agents.protocol import ReplicaMark

CLUSTER = "0d9c7c1e-54a1-4a7b-9a63-6c6ab2a0f0c1"
UUID = "7b6f0f52-3f0e-4b77-8a4d-0a8c5c1de001"
LABEL = Label(1, CLUSTER, UUID, 17, 4)

# Written by the code of commit 9b700b5: a disk of 4 GB, by offset in its SUPER extent; what follows
# each piece, and what is between them, is zero.
LABEL_BLOCK = (
    b"VASLABL1\x96\x00\x00\x00\x45\xa3\x69\x0f"
    b'{"version": 1, "cluster": "0d9c7c1e-54a1-4a7b-9a63-6c6ab2a0f0c1",'
    b' "disk_uuid": "7b6f0f52-3f0e-4b77-8a4d-0a8c5c1de001", "pdskid": 17, "capacity_gb": 4}'
)
AGES = bytes.fromhex("0600000006000000e1ffff7f")
UNCLEAN_MARK = bytes.fromhex("5641534d41524b312900000087d6120000000000dc647edd")
CLEAN_MARK = bytes.fromhex("5641534d41524b312a00000007000000010000007cc16ac7")
GOLDEN = {
    0: LABEL_BLOCK,
    4096: LABEL_BLOCK,
    1048576: AGES,
    67108864: UNCLEAN_MARK,
    67117056: CLEAN_MARK,
}

# What the first version that has descriptors writes beside an extent.
DESCRIPTOR = Descriptor(0x15, 3, 4, 0x16, 8, 0x11, 0, 0, 12, 12, 2, 1764000000, "tenant-a")
DESCRIPTOR_BLOCK = bytes.fromhex(
    "5641534445534331150000000300000004000000160000000800000011000000"
    "00000000000000000c0000000c000000020000000081246974656e616e742d61" + 56 * "00" + "0cd47b82"
)

u31 = st.integers(0, 0x7FFFFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
labels = st.builds(Label, st.just(1), st.text(max_size=40), st.text(max_size=40), u31, u31)
marks = st.builds(Mark, u32, u32, st.booleans())
places = st.integers(0, ondisk.LARGEST_DISK_GB - 2)
capacities = st.integers(ondisk.SMALLEST_DISK_GB, ondisk.LARGEST_DISK_GB)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state" / "agent.db")
    yield store
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A disk as an agent of commit 9b700b5 left it."""
    path = tmp_path / "disk.img"
    with path.open("wb") as disk:
        disk.truncate(4 * GB)
        for offset, piece in GOLDEN.items():
            disk.seek(3 * GB + offset)
            disk.write(piece)
    return path


@pytest.fixture
def super_extent(path: Path) -> Iterator[SuperExtent]:
    fd = os.open(path, os.O_RDWR)
    yield SuperExtent(fd, 4)
    os.close(fd)


def content(path: Path) -> dict[int, bytes]:
    with path.open("rb") as disk:
        found = {}
        for offset in GOLDEN:
            disk.seek(3 * GB + offset)
            found[offset] = disk.read(4096)
    return found


# -- golden bytes ---------------------------------------------------------------------------------


def test_a_disk_of_the_first_format_is_read(super_extent: SuperExtent) -> None:
    assert super_extent.read_label() == LABEL
    assert [super_extent.age(gb, 1) for gb in range(4)] == [6, 6, 0x7FFFFFE1, 0]
    assert super_extent.newest_generation == 0x3FFFFFF1
    assert super_extent.read_mark(1, 0) == ReplicaMark(1, 41, 1234567, clean=False)
    assert super_extent.read_mark(2, 1) == ReplicaMark(2, 0, 0, clean=True)
    assert super_extent.read_mark(3, 2) == ReplicaMark(3, 42, 7, clean=True)


def test_a_disk_of_the_first_format_is_taken_as_it_is(store: StateStore, path: Path) -> None:
    before = content(path)
    disk = open_disk(DiskConfig(str(path)), CLUSTER, store)
    os.close(disk.fd)

    assert disk.label == LABEL
    assert content(path) == before


def test_the_same_bytes_are_written_today(super_extent: SuperExtent, path: Path) -> None:
    before = content(path)
    super_extent.format(LABEL)
    super_extent.set_age(0, 2, ondisk.age_of(3, shredded=False))
    super_extent.set_age(2, 1, ondisk.age_of(0x3FFFFFF0, shredded=True))
    with path.open("r+b") as disk:
        for offset_gb, mark in {0: Mark(41, 1234567, clean=False), 2: Mark(42, 7)}.items():
            disk.seek(ondisk.mark_offset(4, offset_gb))
            disk.write(ondisk.pack_mark(mark))

    assert content(path) == before


def test_a_descriptor_is_written_beside_what_older_agents_left(
    super_extent: SuperExtent, path: Path
) -> None:
    before = content(path)
    assert list(super_extent.descriptors(0, 3)) == []

    super_extent.write_descriptor(2, DESCRIPTOR)

    assert content(path) == before
    assert list(super_extent.descriptors(0, 3)) == [(2, DESCRIPTOR)]
    with path.open("rb") as disk:
        disk.seek(3 * GB + 2 * MIB + 2 * 256)
        assert disk.read(256) == DESCRIPTOR_BLOCK.ljust(256, b"\0")


def test_a_descriptor_that_is_not_whole_is_none(super_extent: SuperExtent, path: Path) -> None:
    super_extent.write_descriptor(1, DESCRIPTOR)
    with path.open("r+b") as disk:
        disk.seek(3 * GB + 2 * MIB + 256 + 70)
        disk.write(b"!")

    assert super_extent.read_descriptor(1) is None


def test_the_largest_disk_has_room_for_all_its_descriptors() -> None:
    last = ondisk.LARGEST_DISK_GB - 2
    end = ondisk.descriptor_offset(ondisk.LARGEST_DISK_GB, last) + ondisk.DESCRIPTOR_BYTES
    first = ondisk.descriptor_offset(ondisk.LARGEST_DISK_GB, 0)

    assert ondisk.ages_offset(ondisk.LARGEST_DISK_GB, last) + ondisk.AGE_BYTES <= first
    assert end <= ondisk.mark_offset(ondisk.LARGEST_DISK_GB, 0)


# -- there and back -------------------------------------------------------------------------------


@given(labels)
def test_a_label_comes_back_as_it_was(label: Label) -> None:
    block = ondisk.pack_label(label)

    assert len(block) == LABEL_BYTES
    assert ondisk.unpack_label(block) == label


@given(marks)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    block = ondisk.pack_mark(mark)

    assert len(block) == MARK_BYTES
    assert ondisk.unpack_mark(memoryview(block)) == mark


@given(st.tuples(*12 * [u32]), st.text("-._azAZ09", max_size=64))
def test_a_descriptor_comes_back_as_it_was(numbers: tuple[int, ...], name: str) -> None:
    descriptor = Descriptor._make((*numbers, name))
    block = ondisk.pack_descriptor(descriptor)

    assert len(block) == ondisk.DESCRIPTOR_BYTES
    assert ondisk.unpack_descriptor(block) == descriptor


@given(u32, st.integers(1, 64))
def test_ages_come_back_as_they_were(age: int, size_gb: int) -> None:
    assert ondisk.unpack_ages(ondisk.pack_ages(age, size_gb)) == (age,) * size_gb


@given(u31, u31)
def test_the_lives_of_space_are_in_order(one: int, other: int) -> None:
    used, zeroed = (ondisk.age_of(one, shredded=word) for word in (False, True))

    assert used < zeroed < ondisk.age_of(one + 1, shredded=False)
    assert ondisk.generation_of(used) == one
    assert (used < ondisk.age_of(other, shredded=False)) == (one < other)


@given(capacities, places)
def test_every_part_of_a_disk_has_its_own_place(capacity_gb: int, place: int) -> None:
    place = min(place, capacity_gb - 2)
    start, end = ondisk.super_offset(capacity_gb), capacity_gb * GB
    first, second = ondisk.label_offsets(capacity_gb)
    age, mark = ondisk.ages_offset(capacity_gb, place), ondisk.mark_offset(capacity_gb, place)

    assert (place + 1) * GB <= start == first
    assert first + LABEL_BYTES == second < start + MIB <= age
    assert age + ondisk.AGE_BYTES <= ondisk.mark_offset(capacity_gb, 0) <= mark
    assert mark + MARK_BYTES <= end
    assert ondisk.ages_offset(capacity_gb, place + 1) - age == ondisk.AGE_BYTES
    assert ondisk.mark_offset(capacity_gb, place + 1) - mark == MARK_BYTES


# -- what is not whole, and what is newer ---------------------------------------------------------


@given(st.integers(0, len(LABEL_BLOCK) - 1), st.integers(1, 255))
def test_a_label_with_a_changed_byte_says_nothing(place: int, change: int) -> None:
    assert ondisk.unpack_label(_changed(LABEL_BLOCK, LABEL_BYTES, place, change)) is None


@given(st.integers(0, len(CLEAN_MARK) - 1), st.integers(1, 255))
def test_a_mark_with_a_changed_byte_says_nothing(place: int, change: int) -> None:
    assert ondisk.unpack_mark(_changed(CLEAN_MARK, MARK_BYTES, place, change)) == Mark()


def _changed(block: bytes, size: int, place: int, change: int) -> bytes:
    changed = bytearray(block.ljust(size, b"\0"))
    changed[place] ^= change
    return bytes(changed)


def label_block(text: bytes) -> bytes:
    """A whole label block around any text."""
    header = struct.pack("<8sII", b"VASLABL1", len(text), zlib.crc32(text))
    return (header + text).ljust(LABEL_BYTES, b"\0")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"\xff", b"{}", b'{"version": 1}', b'{"version": true}']
)
def test_a_whole_block_that_holds_no_label_says_nothing(text: bytes) -> None:
    assert ondisk.unpack_label(label_block(text)) is None


def test_a_member_that_only_a_newer_agent_knows_is_ignored() -> None:
    text = LABEL_BLOCK[16:-1] + b', "colour": "blue"}'

    assert ondisk.unpack_label(label_block(text)) == LABEL


def test_a_label_tells_its_hardware_beside_what_labels_always_told() -> None:
    text = LABEL_BLOCK[16:-1] + b', "hardware": "device/wwid naa.5000c500a1b2c3d4"}'
    label = LABEL._replace(hardware="device/wwid naa.5000c500a1b2c3d4")

    assert ondisk.unpack_label(label_block(text)) == label
    assert ondisk.pack_label(label) == label_block(text)


NEWER = label_block(b'{"version": 2, "name": "what this is, only a newer agent knows"}')


@pytest.mark.parametrize("initialize", [False, True])
def test_a_label_of_a_newer_version_is_refused_and_never_overwritten(
    store: StateStore, path: Path, *, initialize: bool
) -> None:
    with path.open("r+b") as disk:
        disk.seek(3 * GB)
        disk.write(NEWER * 2)
    before = content(path)

    with pytest.raises(NewerLabel, match="version 2, and this agent knows 1"):
        open_disk(DiskConfig(str(path), initialize=initialize), CLUSTER, store)

    assert content(path) == before


def test_an_agent_lives_on_beside_a_disk_with_a_newer_label(
    store: StateStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with path.open("r+b") as disk:
        disk.seek(3 * GB)
        disk.write(NEWER)
    disks = Disks(store)
    disks.open_all([DiskConfig(str(path), initialize=True)], CLUSTER)

    assert list(disks) == []
    assert "a newer agent has to use it" in caplog.text
