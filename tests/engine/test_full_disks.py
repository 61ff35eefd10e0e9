import errno
import json
import os
from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.mirror.missed_chunks import MissedChunks
from agents.engines.userspace.mirror.write_intent import WriteIntentBitmap
from agents.engines.userspace.storage.leased_range import libc
from agents.ondisk import GB, mark_offset
from agents.protocol import ReplicaState
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.conftest import MakeFolder, MakeLab, MountSmallDisk
from tests.engine.lab import VOLUME, Lab, wait_until

MIB = 1 << 20


def head_state(lab: Lab) -> Path:
    return lab.folder / "h" / "groups"


def recorded_states(lab: Lab) -> dict[int, str]:
    state = json.loads((head_state(lab) / f"{VOLUME:08x}" / "group.json").read_text())
    replicas = state["devices"][0]["mirrors"][0]["legs"]
    return {replica["dextid"]: replica["state"] for replica in replicas}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("kind", ["intent", "missed"])
def test_a_map_has_all_its_room_from_the_start(make_folder: MakeFolder, kind: str) -> None:
    path = make_folder() / kind
    if kind == "intent":
        WriteIntentBitmap(str(path), 1 << 40, 1, "boot")
    else:
        MissedChunks(str(path), MIB, 20)

    assert path.stat().st_blocks * 512 >= path.stat().st_size >= MIB


def test_writes_go_on_while_the_state_of_the_head_has_no_room(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    lab.attach()
    pid = lab.head_pid
    small.fill()

    with NbdClient(lab.device) as client:
        client.write(300 * MIB, b"a" * 8192)
        client.flush()
        assert client.read(300 * MIB, 8192) == b"a" * 8192

    assert lab.head_pid == pid
    assert is_alive(pid)
    assert set(lab.states().values()) == {ReplicaState.INSYNC}


def test_an_attach_that_finds_no_room_for_its_state_leaves_nothing(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    small.fill()

    with pytest.raises(OSError, match="No space"):
        lab.attach()

    assert [path.name for path in head_state(lab).iterdir()] == ["ballast"]
    small.make_room()
    lab.attach()


def test_what_a_kill_left_of_an_attach_that_had_just_begun_goes_at_the_next_start(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    begun = head_state(lab) / "000000ff"
    begun.mkdir()
    (begun / "group.json.new").touch()

    UserspaceHead(*lab.head_folders)

    assert list(head_state(lab).iterdir()) == []


def test_a_group_killed_while_its_state_has_no_room_is_revived(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(300 * MIB, b"a" * 8192)
    small.fill()
    lab.head.stop()

    lab.head.revive(VOLUME)

    with NbdClient(lab.device) as client:
        assert client.read(300 * MIB, 8192) == b"a" * 8192
        client.write(400 * MIB, b"b" * 8192)


def test_no_volume_is_attached_where_its_state_has_no_room(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    small.fill(pages_left=5)
    with pytest.raises(EngineError) as refused:
        lab.attach()
    assert refused.value.errno == errno.ENOSPC
    assert lab.head.groups() == []

    small.make_room()
    lab.attach(epoch=2)

    with NbdClient(lab.device) as client:
        client.write(0, bytes(4096))


def test_a_replica_is_left_behind_while_the_state_of_the_head_has_no_room(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    lab.attach()
    pid = lab.head_pid
    small.fill()
    lab.stores[0].kill()

    with NbdClient(lab.device) as client:
        client.write(300 * MIB, b"a" * 8192)
        client.write(400 * MIB, b"b" * 8192)

    assert is_alive(pid)
    assert recorded_states(lab)[10] == "faulty"
    small.make_room()
    lab.head.stop()
    lab.head.revive(VOLUME)
    lab.stores[0].restart()
    lab.export(0)
    lab.rebuild(0, 10)
    lab.wait_for(10, ReplicaState.INSYNC)
    lab.settle()
    assert lab.stores[0].extent(0, 512 * MIB) == lab.stores[1].extent(0, 512 * MIB)


def test_a_write_that_missed_a_replica_is_an_error_until_the_record_tells(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab
) -> None:
    lab = make_lab()
    small = mount_small_disk(head_state(lab))
    lab.attach()
    (head_state(lab) / f"{VOLUME:08x}" / "group.json.new").unlink(missing_ok=True)
    small.fill()
    lab.stores[0].kill()
    with NbdClient(lab.device) as client:
        for _ in range(2):
            with pytest.raises(NbdError):
                client.write(300 * MIB, b"a" * 8192)
        assert recorded_states(lab)[10] == "insync"
        small.make_room()

        client.write(300 * MIB, b"b" * 8192)

    assert recorded_states(lab) == {10: "faulty", 11: "insync", 12: "insync"}


def test_nothing_is_acknowledged_that_no_replica_has_room_for(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab, short_path: Path
) -> None:
    small = mount_small_disk(short_path)
    lab = make_lab()
    lab.attach()
    pids = [lab.head_pid, *(store.pid for store in lab.stores)]
    small.fill()

    with NbdClient(lab.device) as client:
        for place in (300 * MIB, 400 * MIB):
            with pytest.raises(NbdError):
                client.write(place, b"a" * 8192)
        assert client.read(300 * MIB, 8192) == bytes(8192)
        small.make_room()
        client.write(300 * MIB, b"b" * 8192)
        client.flush()
        assert client.read(300 * MIB, 8192) == b"b" * 8192

    assert all(map(is_alive, pids))
    assert list(lab.states().values()).count(ReplicaState.INSYNC) == 1


def test_a_replica_without_room_is_left_behind_and_the_others_serve(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab, short_path: Path
) -> None:
    lab = make_lab()
    folder = short_path / "small"
    folder.mkdir()
    small = mount_small_disk(folder)
    lab.stores[0].disk = folder / "disk"
    lab.stores[0].disk.touch()
    os.truncate(lab.stores[0].disk, lab.stores[0].capacity_gb * GB)
    lab.attach()
    small.fill()

    with NbdClient(lab.device) as client:
        client.write(300 * MIB, b"a" * 8192)
        client.flush()

    assert lab.states() == {
        10: ReplicaState.FAULTY,
        11: ReplicaState.INSYNC,
        12: ReplicaState.INSYNC,
    }
    small.make_room()
    lab.rebuild(0, 10)
    lab.wait_for(10, ReplicaState.INSYNC)
    lab.settle()
    assert lab.stores[0].extent(0, 512 * MIB) == lab.stores[1].extent(0, 512 * MIB)


def test_the_last_replica_is_marked_before_it_acknowledges_anything(
    mount_small_disk: MountSmallDisk, make_lab: MakeLab, short_path: Path
) -> None:
    small = mount_small_disk(short_path)
    lab = make_lab()
    lab.attach()
    wait_until(lambda: lab.states() == dict.fromkeys((10, 11, 12), ReplicaState.INSYNC))
    for store in lab.stores:
        punch(store.disk, mark_offset(store.capacity_gb, 0))
    small.fill()
    with NbdClient(lab.device) as client:
        with pytest.raises(NbdError):
            client.write(300 * MIB, b"a" * 8192)
        assert {store.mark(0).events for store in lab.stores} == {0}
        small.make_room()

        client.write(300 * MIB, b"b" * 8192)

    (last,) = (dextid for dextid, state in lab.states().items() if state == ReplicaState.INSYNC)
    events = [store.mark(0).events for store in lab.stores]
    assert events[last - 10] > max(one for n, one in enumerate(events) if n != last - 10)


def punch(disk: Path, offset: int) -> None:
    """Take a block's room away, as a file system does that writes everything anew."""
    libc.fallocate(os.open(disk, os.O_RDWR), 3, offset, 4096)
