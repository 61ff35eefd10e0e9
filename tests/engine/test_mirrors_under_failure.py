import errno
import os
import signal
import time

import pytest

from agents.ondisk import GB, Mark, mark_offset, pack_mark
from agents.protocol import ReplicaState
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.checked_load import CheckedLoad, content
from tests.engine.conftest import MakeLab
from tests.engine.lab import TIMEOUT, VOLUME, wait_until

MIB = 1 << 20


def test_nothing_acknowledged_is_lost_when_a_storage_process_is_killed(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    load = CheckedLoad(lab.device, 500)
    load.wait_for(200)

    lab.stores[0].kill()
    load.wait_for(200)
    load.stop()

    assert load.errors == 0
    assert lab.states()[10] == ReplicaState.FAULTY
    assert lab.replicas()[10].reason == "connection"
    assert load.lost(lab.device) == []
    lab.settle()
    assert lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_survivors_carry_a_newer_mark_than_the_replica_left_behind(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach(events=4)
    with NbdClient(lab.device) as client:
        lab.stores[0].kill()
        client.write(0, bytes(4096))

    behind, *survivors = [store.mark(0) for store in lab.stores]

    assert (behind.epoch, behind.events, behind.clean) == (1, 5, False)
    assert {mark.events for mark in survivors} == {6}
    lab.settle()
    assert [store.mark(0).clean for store in lab.stores] == [False, True, True]


def test_a_returning_replica_gets_only_what_it_missed(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(16 * MIB))
        lab.wait_until_flushed()
        lab.stores[0].kill()
        client.write(20 * MIB, os.urandom(MIB))
        client.write(40 * MIB, os.urandom(MIB))
        lab.stores[0].restart()
        lab.export(0)
        lab.rebuild(0, 10)
        lab.wait_for(10, ReplicaState.INSYNC)
        replica = lab.replicas()[10]

    assert replica.total_mib == 2
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_a_returning_replica_gets_what_it_missed_though_the_others_have_flushed_it(
    make_lab: MakeLab,
) -> None:
    lab = make_lab()
    lab.attach()
    lab.stores[0].kill()
    with NbdClient(lab.device) as client:
        client.write(20 * MIB, os.urandom(MIB))
        lab.wait_until_flushed()

    lab.stores[0].restart()
    lab.export(0)
    lab.rebuild(0, 10)
    lab.wait_for(10, ReplicaState.INSYNC)

    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_a_returning_replica_that_is_an_older_one_is_copied_as_a_whole(make_lab: MakeLab) -> None:
    lab = make_lab()
    image = lab.stores[0].extent(0, MIB)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(MIB))
        lab.wait_until_flushed()
        lab.stores[0].kill()
        client.write(20 * MIB, os.urandom(MIB))
        # What comes back is the disk as it was before: a clone, or an image that was restored.
        with lab.stores[0].disk.open("r+b") as disk:
            disk.write(image)
            disk.seek(mark_offset(lab.stores[0].capacity_gb, 0))
            disk.write(pack_mark(Mark(0, 0)))
        lab.stores[0].restart()
        lab.export(0)
        lab.rebuild(0, 10)
        lab.wait_for(10, ReplicaState.INSYNC)

    lab.settle()

    assert lab.stores[0].extent(0) == lab.stores[1].extent(0)


def test_a_replica_is_replaced_on_another_server_under_load(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.attach()
    load = CheckedLoad(lab.device, 2000, stride=7)
    load.wait_for(500)
    lab.stores[0].kill()

    lab.stores[3].lease(13, 0, 1)
    lab.rebuild(3, 13, replaces=10)
    lab.wait_for(13, ReplicaState.INSYNC)
    load.wait_for(100)
    load.stop()

    assert set(lab.states()) == {11, 12, 13}
    assert load.errors == 0
    lab.settle()
    assert lab.stores[3].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)
    assert lab.stores[3].mark(0) == lab.stores[1].mark(0)


def test_a_good_replica_serves_until_its_replacement_is_in_sync(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(8 * MIB))
        lab.stores[3].lease(13, 0, 1)
        lab.rebuild(3, 13, replaces=10)
        assert lab.states()[10] == ReplicaState.INSYNC or 13 in lab.states()
        wait_until(lambda: 10 not in lab.states())
        client.write(0, b"x" * 4096)

    assert set(lab.states().values()) == {ReplicaState.INSYNC}
    lab.settle()
    assert lab.stores[3].extent(0) == lab.stores[1].extent(0)
    assert lab.stores[0].mark(0).events < lab.stores[3].mark(0).events


def test_rebuild_overwrites_what_the_new_extent_held(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    with lab.stores[3].disk.open("r+b") as disk:
        disk.seek(10 * MIB)
        disk.write(os.urandom(3 * MIB))
    lab.attach()
    lab.stores[3].lease(13, 0, 1)

    lab.rebuild(3, 13, replaces=10)
    wait_until(lambda: 10 not in lab.states())

    lab.settle()
    assert not any(lab.stores[3].extent(0))


def test_two_servers_killed_at_once_cost_no_write(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    load = CheckedLoad(lab.device, 500)
    load.wait_for(100)

    lab.stores[0].kill()
    lab.stores[1].kill()
    load.wait_for(200)
    load.stop()

    assert load.errors == 0
    assert load.lost(lab.device) == []
    assert lab.states()[12] == ReplicaState.INSYNC


def test_all_servers_killed_answer_errors_and_lose_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    load = CheckedLoad(lab.device, 300)
    load.wait_for(100)

    for store in lab.stores:
        store.kill()
    wait_until(lambda: load.errors > 3)
    load.stop()
    with NbdClient(lab.device) as client, pytest.raises(NbdError) as refused:
        client.read(0, 4096)
    assert refused.value.errno == errno.EIO
    for server, store in enumerate(lab.stores):
        store.restart()
        lab.export(server)
    wait_until(lambda: not lab.head.groups()[0].devices[0].waiting)

    assert load.lost(lab.device) == []
    for server in range(3):
        lab.rebuild(server, 10 + server)
    wait_until(lambda: set(lab.states().values()) == {ReplicaState.INSYNC})
    lab.wait_until_flushed()
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_a_flush_after_the_last_replica_was_away_tells_of_the_doubt_once(make_lab: MakeLab) -> None:
    lab = make_lab(servers=1)
    lab.attach(servers=(0,))
    with NbdClient(lab.device) as client:
        client.write(0, b"a" * 4096)
        lab.stores[0].kill()
        lab.stores[0].restart()
        lab.export(0)
        wait_until(lambda: lab.replicas()[10].reason == "connection")
        wait_until(lambda: lab.replicas()[10].reason == "")

        with pytest.raises(NbdError):
            client.flush()
        client.flush()


def test_a_flush_is_answered_once_every_replica_in_use_has_flushed(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, bytes(4096))
        os.kill(lab.stores[0].pid, signal.SIGSTOP)
        client.flush()
        states = lab.states()
        os.kill(lab.stores[0].pid, signal.SIGCONT)

    assert states[10] == ReplicaState.FAULTY, "it did not answer, so it is out before the flush is"


def test_a_stopped_server_stalls_writes_once(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    load = CheckedLoad(lab.device, 500)
    load.wait_for(100)

    os.kill(lab.stores[0].pid, signal.SIGSTOP)
    lab.wait_for(10, ReplicaState.FAULTY)
    load.wait_for(200)
    load.stop()

    assert TIMEOUT / 2 < load.longest < 3 * TIMEOUT
    assert load.errors == 0
    assert load.lost(lab.device) == []


def test_requests_of_a_former_connection_never_reach_the_disk(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device) as client:
        os.kill(lab.stores[0].pid, signal.SIGSTOP)
        client.write(0, b"old" * 4096)
        os.kill(lab.stores[0].pid, signal.SIGCONT)
        lab.rebuild(0, 10)
        lab.wait_for(10, ReplicaState.INSYNC)
        client.write(0, b"new" * 4096)

    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0)


def test_a_cancelled_rebuild_leaves_the_replica_faulty(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(32 * MIB))
    lab.stores[3].lease(13, 0, 1)

    lab.rebuild(3, 13)
    lab.head.cancel(VOLUME, 13)

    lab.wait_for(13, ReplicaState.FAULTY)
    assert lab.replicas()[13].reason == "asked"


def test_a_rebuild_to_nowhere_fails_for_its_connection(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.attach()

    lab.rebuild(3, 13)

    lab.wait_for(13, ReplicaState.FAULTY)
    assert lab.replicas()[13].reason == "connection"


def test_a_disk_that_vanishes_takes_its_replica_out(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    lab.stores[0].disk.unlink()
    with NbdClient(lab.device) as client:

        def is_out() -> bool:
            client.write(0, content(0, 1))
            return lab.states()[10] == ReplicaState.FAULTY

        wait_until(is_out)

    assert lab.replicas()[10].reason == "io"
    assert lab.stores[0].engine.leases()


def test_the_last_good_replica_stays_and_its_errors_are_told(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.attach()
    with NbdClient(lab.device, timeout=10) as client:
        for store in lab.stores:
            store.disk.rename(store.disk.with_suffix(".gone"))

        def is_refused() -> bool:
            try:
                client.write(0, content(0, 1))
            except NbdError:
                return True
            return False

        wait_until(is_refused)
        assert list(lab.states().values()).count(ReplicaState.INSYNC) == 1
        for store in lab.stores:
            store.disk.with_suffix(".gone").rename(store.disk)
        wait_until(lambda: not is_refused())

        assert client.read(0, 4096) == content(0, 1)


def test_writes_reach_across_mirrors_of_unequal_size(make_lab: MakeLab) -> None:
    lab = make_lab(sizes=(2, 2, 1))
    lab.attach()
    across = os.urandom(2 * MIB)
    with NbdClient(lab.device) as client:
        assert client.size == 5 * GB
        client.write(4 * GB - MIB, across)
        client.write(5 * GB - 4096, b"e" * 4096)
        assert client.read(4 * GB - MIB, 2 * MIB) == across
        with pytest.raises(NbdError):
            client.write(5 * GB - 2048, b"e" * 4096)

    lab.settle()
    for store in lab.stores:
        assert store.extent(4, MIB) == across[MIB:]


def test_a_trim_of_everything_is_served(make_lab: MakeLab) -> None:
    lab = make_lab(sizes=(2, 1))
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(2 * GB - 4096, b"x" * 8192)
        client.zero(0, 3 * GB)

        assert not any(client.read(2 * GB - 4096, 8192))


def test_a_replica_that_waits_for_its_rebuild_still_gets_what_is_written_meanwhile(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(sizes=(1, 1), servers=4)
    lab.head = type(lab.head)(*lab.head_folders, rebuild_mib_per_s=5, replica_timeout=TIMEOUT)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(GB, os.urandom(32 * MIB))
        lab.wait_until_flushed()
        lab.stores[0].kill()
        client.write(0, b"a" * 4096)
        client.write(GB, b"a" * 4096)
        lab.stores[0].restart()
        lab.export(0)
        lab.stores[3].lease(23, 1, 1)
        lab.rebuild(3, 23, replaces=20, mirror=1)
        lab.rebuild(0, 10)
        client.write(5 * MIB, b"b" * 4096)
        lab.wait_until_flushed()
        assert lab.states()[10] == ReplicaState.SPARE
        lab.wait_for(10, ReplicaState.INSYNC)

    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0)


def test_a_rebuild_keeps_to_its_rate(make_lab: MakeLab) -> None:
    lab = make_lab(servers=4)
    lab.head = type(lab.head)(*lab.head_folders, rebuild_mib_per_s=20, replica_timeout=TIMEOUT)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, os.urandom(20 * MIB))
    lab.stores[3].lease(13, 0, 1)

    began = time.monotonic()
    lab.rebuild(3, 13)
    lab.wait_for(13, ReplicaState.INSYNC)

    assert 0.8 < time.monotonic() - began < 5
    assert lab.replicas()[13].done_mib == lab.replicas()[13].total_mib == 1024
