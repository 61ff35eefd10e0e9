"""Arrays of the kernel engine: what is read from md's files, and the bitmap that it is given."""

import fcntl
import os
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from agents.engines.kernel import arrays, bitmap
from agents.engines.kernel.arrays import Array, ArrayCopying, ArrayMember

GB = 1 << 30
NAME = "md_vas00000017"


@pytest.fixture
def md(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder such as the kernel has of each array."""
    monkeypatch.setattr(arrays, "BLOCK", tmp_path)
    folder = tmp_path / NAME / "md"
    folder.mkdir(parents=True)
    return folder


def put(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_a_member_that_failed_is_not_in_sync_whatever_else_is_said_of_it(md: Path) -> None:
    put(md / "dev-dm-0", state="in_sync,write_error")
    put(md / "dev-dm-1", state="faulty,blocked,write_error,want_replacement")
    put(md / "dev-dm-2", state="spare")

    assert Array(NAME).members() == {
        "dm-0": ArrayMember.IN_SYNC,
        "dm-1": ArrayMember.FAULTY,
        "dm-2": ArrayMember.BUILDING,
    }


def test_writes_wait_until_a_failure_is_acknowledged(md: Path) -> None:
    put(md, array_state="write-pending")
    put(md / "dev-dm-1", state="faulty,blocked")
    array = Array(NAME)
    assert array.is_waiting()

    array.acknowledge(["dm-1"])

    assert (md / "dev-dm-1" / "state").read_text() == "-blocked"
    assert (md / "array_state").read_text() == "active"


def test_a_failure_that_nobody_has_noted_yet_goes_on_holding_writes_back(md: Path) -> None:
    put(md, array_state="write-pending")
    put(md / "dev-dm-1", state="faulty,blocked")
    put(md / "dev-dm-2", state="faulty,blocked")

    Array(NAME).acknowledge(["dm-1"])

    assert (md / "dev-dm-1" / "state").read_text() == "-blocked"
    assert (md / "dev-dm-2" / "state").read_text() == "faulty,blocked\n"
    assert Array(NAME).is_waiting()


def test_how_far_a_copy_is_is_told_in_bytes(md: Path) -> None:
    put(md, sync_action="recover", sync_completed="1024 / 2097152", resync_start="none")
    assert Array(NAME).copying() == ArrayCopying(1024 * 512, GB)
    assert Array(NAME).is_equal

    put(md, sync_action="idle", sync_completed="none", resync_start="0")
    assert Array(NAME).copying() is None
    assert not Array(NAME).is_equal


def test_a_copy_that_gets_on_while_it_is_read_is_read_as_it_was(md: Path) -> None:
    put(md, sync_action="resync")
    os.mkfifo(md / "sync_completed")
    kernel = threading.Thread(target=_tell_two, args=(md / "sync_completed",))
    kernel.start()

    told = Array(NAME).copying()
    kernel.join()

    assert told == ArrayCopying(512, 2097152 * 512)


def _tell_two(path: Path) -> None:
    """Have more to tell as soon as the first is read; who has gone by then is not told."""
    with path.open("wb", buffering=0) as file, suppress(BrokenPipeError):
        file.write(b"1 / 2097152\n")
        while int.from_bytes(fcntl.ioctl(file, termios.FIONREAD, bytes(4)), sys.byteorder):
            pass
        file.write(b"7152\n")


def test_blocks_that_were_being_compared_when_an_agent_ended_are_let_go(md: Path) -> None:
    put(md, suspend_lo="2048", suspend_hi="4096")
    array = Array(NAME)
    assert array.is_held

    array.release()

    assert not array.is_held


def test_an_array_that_is_not_there_is_stopped_already(md: Path) -> None:
    md.rmdir()

    Array(NAME).stop()

    assert not Array(NAME).is_there


def test_a_new_bitmap_has_a_bit_for_each_mib_and_none_is_set() -> None:
    packed = bitmap.pack(64 * GB)

    assert packed.startswith(b"bitm\x04\0\0\0")
    assert len(packed) == 3 * 4096, "256 bytes, then 64 Ki bits"
    assert packed[256:].count(0) == len(packed) - 256
    assert bitmap.CLEAR_SECONDS > 3 * bitmap.FLUSH_SECONDS
