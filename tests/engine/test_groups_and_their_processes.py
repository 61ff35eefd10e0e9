import errno
import os
import shutil
import signal
import struct
import subprocess
import time

import pytest

from agents.engines.base import EngineError
from agents.ondisk import MIB
from agents.protocol import ReplicaState
from deploy.local.nbd import NbdClient
from tests.engine.checked_load import CheckedLoad
from tests.engine.conftest import MakeLab
from tests.engine.lab import SNAPSHOT, TIMEOUT, VOLUME, Lab, wait_until


def kill_head(lab: Lab) -> None:
    os.kill(lab.head_pid, signal.SIGKILL)
    wait_until(lambda: not lab.head.groups()[0].alive)


def test_attach_publishes_the_device_under_each_name(make_lab: MakeLab) -> None:
    lab = make_lab()

    replicas = lab.attach(events=3)

    assert {replica.dextid: (replica.state, replica.events) for replica in replicas} == {
        10: (ReplicaState.INSYNC, 4),
        11: (ReplicaState.INSYNC, 4),
        12: (ReplicaState.INSYNC, 4),
    }
    assert sorted(path.name for path in (lab.folder / "dev").iterdir()) == ["lvol-00000007", "vol"]


def test_the_same_attach_again_changes_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    first = lab.attach()
    pid = lab.head_pid

    assert lab.attach() == first
    assert lab.head_pid == pid


def test_an_attach_of_an_older_epoch_is_refused(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach(epoch=2)

    with pytest.raises(EngineError) as refused:
        lab.attach(epoch=1)

    assert refused.value.errno == errno.ESTALE


def test_an_attach_of_a_newer_epoch_ends_the_older(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach(epoch=1)
    with NbdClient(lab.device) as client:
        client.write(0, b"a" * 4096)
        lab.attach(epoch=2, events=1, dirty=True)
        with pytest.raises(ConnectionError):
            client.read(0, 4096)

    with NbdClient(lab.device) as client:
        assert client.read(0, 4096) == b"a" * 4096
    assert [group.epoch for group in lab.head.groups()] == [2]


def test_an_attach_without_any_good_replica_fails_and_leaves_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    for store in lab.stores:
        store.engine.stop()
    mirrors = lab.mirrors(1, (0, 1, 2), 0, dirty=False)

    with pytest.raises(EngineError) as refused:
        lab.head.attach(lab.order(1, mirrors))

    assert refused.value.errno == errno.EHOSTUNREACH
    assert lab.head.groups() == []
    assert list((lab.folder / "dev").iterdir()) == []


def test_a_replica_out_of_reach_is_left_out_and_comes_back_later(make_lab: MakeLab) -> None:
    lab = make_lab()
    for server in (0, 1):
        lab.export(server)

    lab.head.attach(lab.order(1, lab.mirrors(1, (0, 1, 2), 0, dirty=False)))

    assert lab.states()[12] == ReplicaState.FAULTY
    assert lab.replicas()[12].reason == "connection"
    lab.export(2)
    with NbdClient(lab.device) as client:
        client.write(5 * MIB, b"a" * 4096)
    lab.rebuild(2, 12)
    lab.wait_for(12, ReplicaState.INSYNC)
    assert lab.replicas()[12].total_mib == 1


def test_detach_of_an_open_volume_is_busy(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        with pytest.raises(EngineError) as refused:
            lab.head.detach(VOLUME)
        client.write(0, b"still there" * 512)

    assert refused.value.errno == errno.EBUSY
    lab.settle()
    assert lab.head.groups() == []


def test_detach_leaves_clean_marks_and_no_links(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach(epoch=5, events=7)

    replicas = lab.head.detach(VOLUME)

    assert {replica.state for replica in replicas} == {ReplicaState.INSYNC}
    assert {tuple(store.mark(0)) for store in lab.stores} == {(5, 8, True)}
    assert list((lab.folder / "dev").iterdir()) == []
    assert lab.head.detach(VOLUME) == ()


def test_a_killed_head_process_is_told_dead_and_its_marks_stay_unclean(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()

    kill_head(lab)

    (group,) = lab.head.groups()
    assert (group.lvolid, group.epoch, group.alive) == (VOLUME, 1, False)
    assert {replica.state for replica in group.replicas} == {ReplicaState.INSYNC}
    assert {store.mark(0).clean for store in lab.stores} == {False}
    assert lab.head.detach(VOLUME) == ()
    assert lab.head.groups() == []
    assert list((lab.folder / "dev").iterdir()) == []


def test_a_revived_group_has_lost_nothing_and_its_replicas_become_equal(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    load = CheckedLoad(lab.device, 400, stride=3)
    load.wait_for(200)
    os.kill(lab.head_pid, signal.SIGKILL)
    load.stop()
    wait_until(lambda: not lab.head.groups()[0].alive)

    lab.head.revive(VOLUME)

    assert load.lost(lab.device) == []
    lab.wait_until_flushed()
    lab.settle()
    assert {store.mark(0).clean for store in lab.stores} == {True}
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_replicas_made_unequal_by_a_crash_are_made_equal_after_revival(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(3 * MIB, b"a" * 4096)
        kill_head(lab)
    # A write that reached one replica only when the process died.
    with lab.stores[2].disk.open("r+b") as disk:
        disk.seek(3 * MIB)
        disk.write(b"b" * 4096)

    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        seen = {client.read(3 * MIB, 4096) for _ in range(20)}
    lab.wait_until_flushed()
    lab.settle()

    assert len(seen) == 1
    assert {store.extent(0, 4 * MIB)[3 * MIB : 3 * MIB + 4096] for store in lab.stores} == seen


def test_what_is_in_doubt_reads_the_same_until_it_is_made_equal(make_lab: MakeLab) -> None:
    lab = make_lab()
    slow = type(lab.head)(*lab.head_folders, rebuild_mib_per_s=1, replica_timeout=TIMEOUT)
    lab.attach()
    places = [3 * MIB, 200 * MIB, 300 * MIB]
    with NbdClient(lab.device) as client:
        for place in places:
            client.write(place, b"a" * 4096)
        kill_head(lab)
    with lab.stores[1].disk.open("r+b") as disk:
        for place in places:
            disk.seek(place)
            disk.write(b"b" * 4096)

    slow.revive(VOLUME)
    with NbdClient(lab.device) as one, NbdClient(lab.device) as other:
        seen = []
        for _ in range(20):
            for client in (one, other):
                client.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 5, places[2], 4096))
            seen += [client.receive(16 + 4096)[16:] for client in (one, other)]

    assert set(seen) == {b"a" * 4096}


def test_what_is_still_in_doubt_at_a_detach_is_not_closed_as_clean(make_lab: MakeLab) -> None:
    lab = make_lab()
    slow = type(lab.head)(*lab.head_folders, rebuild_mib_per_s=1, replica_timeout=TIMEOUT)
    lab.attach()
    with NbdClient(lab.device) as client:
        for n in range(8):
            client.write(n * 3 * MIB, os.urandom(4096))
        kill_head(lab)

    slow.revive(VOLUME)
    slow.detach(VOLUME)

    assert {store.mark(0).clean for store in lab.stores} == {False}


def test_a_revived_group_still_knows_what_a_faulty_replica_missed(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(8 * MIB))
        lab.wait_until_flushed()
        lab.stores[0].kill()
        client.write(20 * MIB, os.urandom(MIB))
        kill_head(lab)
    lab.stores[0].restart()
    lab.export(0)

    lab.head.revive(VOLUME)
    assert lab.states()[10] == ReplicaState.FAULTY
    lab.rebuild(0, 10)
    lab.wait_for(10, ReplicaState.INSYNC)

    assert lab.replicas()[10].total_mib < 8
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0)


def test_a_revived_group_trusts_marks_more_than_its_state_file(make_lab: MakeLab) -> None:
    lab = make_lab(servers=2)
    lab.attach(servers=(0, 1))
    state = lab.folder / "h" / "groups" / f"{VOLUME:08x}" / "group.json"
    older = state.read_bytes()
    with NbdClient(lab.device) as client:
        client.write(0, b"a" * 4096)
        lab.wait_until_flushed()
        os.kill(lab.stores[0].pid, signal.SIGSTOP)
        client.write(0, b"b" * 4096)
        os.kill(lab.stores[0].pid, signal.SIGCONT)
        lab.wait_until_flushed()
        kill_head(lab)
    state.write_bytes(older)

    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        seen = {client.read(0, 4096) for _ in range(20)}

    assert seen == {b"b" * 4096}
    assert lab.states() == {10: ReplicaState.FAULTY, 11: ReplicaState.INSYNC}
    lab.rebuild(0, 10)
    lab.wait_for(10, ReplicaState.INSYNC)
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0)


@pytest.mark.parametrize("map_kept", [True, False])
def test_doubt_after_an_unclean_end_is_resolved_at_the_next_epoch(
    make_lab: MakeLab, *, map_kept: bool
) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(3 * MIB, b"a" * 4096)
        kill_head(lab)
    lab.head.detach(VOLUME)
    if not map_kept:
        shutil.rmtree(lab.folder / "h" / "groups" / f"{VOLUME:08x}")
    with lab.stores[2].disk.open("r+b") as disk:
        disk.seek(3 * MIB)
        disk.write(b"b" * 4096)

    lab.attach(epoch=2, events=1, dirty=True)
    lab.wait_until_flushed()
    lab.settle()

    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)
    assert {store.mark(0).clean for store in lab.stores} == {True}


def test_what_is_left_of_an_unclean_end_is_kept_for_a_week(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    kill_head(lab)
    lab.head.detach(VOLUME)
    folder = lab.folder / "h" / "groups" / f"{VOLUME:08x}"
    now = time.time()

    for days, is_there in ((6.9, True), (7.1, False)):
        os.utime(folder / "group.json", (now, now - days * 86400))
        assert lab.head.groups() == []
        assert folder.exists() == is_there

    lab.attach(epoch=2, events=1, dirty=True)
    os.utime(folder / "group.json", (now, now - 8 * 86400))
    assert [group.epoch for group in lab.head.groups()] == [2]


def test_a_group_outlives_the_agent_object_and_is_found_again(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()

    again = type(lab.head)(lab.folder / "h", lab.folder / "h", lab.folder / "dev")

    assert [group.alive for group in again.groups()] == [True]
    again.detach(VOLUME)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils is not installed")
def test_other_clients_can_use_the_device(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    image = lab.folder / "image"
    image.write_bytes(os.urandom(4 * MIB))
    uri = f"nbd+unix:///?socket={lab.device}"

    for command in (
        ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(image), uri],
        ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(image), uri],
        ["qemu-img", "map", "--output=json", uri],
    ):
        subprocess.run(command, check=True, timeout=60, capture_output=True)

    with NbdClient(lab.device) as client:
        assert client.read(0, 4 * MIB) == image.read_bytes()


def test_names_that_lead_elsewhere_are_refused(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.export(0)
    mirrors = lab.mirrors(1, (0,), 0, dirty=False)

    with pytest.raises(EngineError) as refused:
        lab.head.attach(lab.order(1, mirrors, labels=("../vol",)))

    assert refused.value.errno == errno.EINVAL
    assert SNAPSHOT not in {group.lvolid for group in lab.head.groups()}


def test_detach_in_the_middle_of_a_rebuild_ends_it(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(32 * MIB))
    lab.stores[3].lease(13, 0, 1)
    lab.rebuild(3, 13, replaces=10)
    wait_until(lambda: lab.head.groups()[0].devices[0].clients == 0)

    replicas = {replica.dextid: replica for replica in lab.head.detach(VOLUME)}

    assert {replicas[dextid].state for dextid in (11, 12)} == {ReplicaState.INSYNC}
    if 13 in replicas and 10 in replicas:
        assert (replicas[13].state, replicas[13].reason) == (ReplicaState.FAULTY, "asked")
    assert lab.stores[1].mark(0).clean
