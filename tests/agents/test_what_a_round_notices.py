"""Rounds of the kernel engine: what they see in a few files of the kernel, and who is looked at."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from agents.engines.kernel import bitmap, device_mapper, iscsi_names, kernel_state, mirror, records
from agents.engines.kernel.device_mapper import Listed
from agents.engines.kernel.kernel_state import Overview
from agents.engines.kernel.mirror import KernelMirror
from agents.engines.kernel.probes import Servers
from agents.engines.kernel.sessions import Sessions
from agents.engines.userspace.head.state_file import SavedMirror, SavedReplica
from agents.engines.userspace.mirror.live_replica import INSYNC

MIRROR, GROUP, EPOCH = 0x17, 7, 3
ARRAY = iscsi_names.array(MIRROR)
TARGET = iscsi_names.target(GROUP, EPOCH)
MDSTAT = """\
Personalities : [raid1]
md_vas0000002c : active raid1 dm-14[2] dm-13[1](F) dm-12[0]
      1048576 blocks super external:vastsky [3/2] [U_U]
      bitmap: 0/1 pages [0KB], 1024KB chunk, file: /state/bitmap-0000002c

md_vas00000017 : active raid1 dm-2[2] dm-1[1] dm-0[0]
      1048576 blocks super external:vastsky [3/3] [UUU]
      [==>..................]  resync = {done}% (148288/1048576) finish=0.5min speed=24714K/sec
      
md127 : active raid1 sdb1[1] sda1[0]
      1046528 blocks super 1.2 [2/2] [UU]
      
md_vas00000001 : inactive dm-7[0](S)
      1048576 blocks super external:vastsky
       
unused devices: <none>
"""  # noqa: W293 - as the kernel has it


@pytest.fixture
def calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelMirror:
    """A mirror of two replicas that finds all as it is to stay whenever it looks."""
    replicas = tuple(SavedReplica(n, (), 0, "", INSYNC) for n in (1, 2))
    saved = SavedMirror(MIRROR, 1, 5, dirty=False, replicas=replicas)
    monkeypatch.setattr(KernelMirror, "look", lambda _: True)
    return KernelMirror((GROUP, EPOCH), saved, tmp_path, Servers(), lambda: None)


@pytest.fixture
def quiet() -> Overview:
    devices = {iscsi_names.replica(n, EPOCH): Listed(n, 0) for n in (1, 2)}
    sessions = {TARGET: frozenset({("session1", "LOGGED_IN"), ("session2", "LOGGED_IN")})}
    return Overview(devices, {ARRAY: "active raid1 [UU]"}, sessions, {ARRAY: "8"})


def test_what_md_does_is_told_in_words_that_change_only_when_something_happens() -> None:
    seen = dict(kernel_state.arrays(MDSTAT.format(done=14.1)))

    assert set(seen) == {"md_vas0000002c", ARRAY}, "those of ours that run"
    assert seen == dict(kernel_state.arrays(MDSTAT.format(done=99.9)))
    assert seen["md_vas0000002c"].startswith("active raid1 dm-14[2] dm-13[1](F)")
    assert seen["md_vas0000002c"].endswith("bitmap")
    assert seen[ARRAY].endswith("resync")


def test_an_array_that_begins_to_hold_writes_back_is_seen(tmp_path: Path) -> None:
    state = tmp_path / ARRAY / "md" / "array_state"
    state.parent.mkdir(parents=True)
    seen = []
    for word in ("active", "write-pending"):
        state.write_text(f"{word}\n")
        seen.append(
            dict(kernel_state.with_states([(ARRAY, "[UUU]"), ("md_vasgone", "")], tmp_path))
        )

    assert seen[0][ARRAY] == "[UUU] active" != seen[1][ARRAY]


def test_the_device_mappers_list_tells_how_much_happened_to_each_device() -> None:
    first = struct.pack("=QI13s7xI4x", 0xFD00, 40, b"vas-replica-1", 5)
    last = struct.pack("=QI4s8xI4x", 0xFD01, 0, b"home", 0)

    assert dict(device_mapper.listed(first + last)) == {
        "vas-replica-1": Listed(os.makedev(0xFD, 0), 5),
        "home": Listed(os.makedev(0xFD, 1), 0),
    }


def test_sessions_are_told_by_target(tmp_path: Path) -> None:
    for number, target, state in ((1, "a", "LOGGED_IN"), (2, "a", "FAILED"), (3, "b", "FREE")):
        folder = tmp_path / f"session{number}"
        folder.mkdir()
        (folder / "targetname").write_text(f"{target}\n")
        (folder / "state").write_text(f"{state}\n")

    sessions = Sessions(tmp_path)

    assert sessions.states() == {
        "a": {("session1", "LOGGED_IN"), ("session2", "FAILED")},
        "b": {("session3", "FREE")},
    }
    assert [path.name for path in sessions.of("b")] == ["session3"]
    assert Sessions(tmp_path / "none").states() == {}


def test_a_mirror_is_looked_at_when_something_happened_to_it_and_seldom_otherwise(
    calm: KernelMirror, quiet: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calm.wants_look(quiet, at_leisure=False), "it never was"
    calm.look_again(quiet)
    assert not calm.wants_look(quiet, at_leisure=True)

    happened = {
        "a path failed": replace(
            quiet, devices={**quiet.devices, iscsi_names.replica(2, EPOCH): Listed(2, 1)}
        ),
        "a session ended": replace(
            quiet, sessions={TARGET: frozenset({("session1", "LOGGED_IN"), ("session2", "FREE")})}
        ),
        "a member failed": replace(quiet, arrays={ARRAY: "active raid1 [U_]"}),
    }
    assert [what for what, seen in happened.items() if calm.wants_look(seen, at_leisure=False)] == [
        *happened
    ]

    monkeypatch.setattr(mirror, "CALM_SECONDS", -1)
    calm.look_again(quiet)
    assert calm.wants_look(quiet, at_leisure=True), "a minute went by"
    assert not calm.wants_look(quiet, at_leisure=False), "there is no time for that"


def test_where_something_is_under_way_the_next_round_looks_again(
    calm: KernelMirror, quiet: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelMirror, "look", lambda _: False)

    calm.look_again(quiet)

    assert calm.wants_look(quiet, at_leisure=True)


def test_what_was_written_is_flushed_once(
    calm: KernelMirror, quiet: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = replace(quiet, written={ARRAY: "16"})
    assert calm.flush_soon(quiet)
    assert not calm.flush_soon(more), "it is too soon"
    monkeypatch.setattr(bitmap, "FLUSH_SECONDS", 0)
    assert not calm.flush_soon(quiet), "nothing was written since"
    assert calm.flush_soon(more)


def test_records_of_open_iscsi_are_private_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nodes").mkdir()
    before = os.umask(0)
    monkeypatch.setattr(records, "ROOTS", (tmp_path / "none", tmp_path))

    records.write(GROUP, EPOCH, "secret", ["10.1.0.1:3260", "10.2.0.1:3260"])
    os.umask(before)

    node = tmp_path / "nodes" / TARGET / "10.2.0.1,3260,1" / "vas-00000007-00000003"
    assert node.stat().st_mode & 0o777 == 0o600
    assert "node.session.auth.password = secret\n" in node.read_text()
    records.remove(GROUP, EPOCH)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "nodes" / TARGET).exists()
