"""No good replica can be reached: a pause, which costs no write, no replica and no snapshot."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from agents.protocol import DeviceState, ReplicaState
from deploy.local.nbd import WRITE, NbdClient, NbdError
from tests.engine.checked_load import CheckedLoad
from tests.engine.conftest import MakeLab
from tests.engine.lab import TIMEOUT, VOLUME, Lab, wait_until
from tests.engine.test_clients_that_ask_too_much import ask, resident, send_all_that_is_taken

MIB = 1 << 20
LONG = 60.0
ALL_IN_SYNC = {ReplicaState.INSYNC}
BOUND = (128 + 48) * MIB


def freeze(lab: Lab) -> None:
    for store in lab.stores:
        store.freeze()


def thaw(lab: Lab) -> None:
    for store in lab.stores:
        store.thaw()


def device(lab: Lab, place: int = 0) -> DeviceState:
    (group,) = lab.head.groups()
    return group.devices[place]


def wait_until_it_waits(lab: Lab) -> None:
    wait_until(lambda: device(lab).waiting > 0)


def is_untouched(lab: Lab) -> bool:
    """Tell whether all replicas are in sync, none with a reason, none marked as a survivor."""
    replicas = lab.replicas().values()
    same = {(replica.state, replica.reason, replica.events) for replica in replicas}
    return same == {(ReplicaState.INSYNC, "", 1)}


@contextlib.contextmanager
def meanwhile(act: Callable[..., Any], *arguments: Any) -> Any:
    """Do something that is to end after what is done in between."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(act, *arguments)


def error_of(act: Future[Any]) -> int | None:
    failure = act.exception(timeout=20)
    assert failure is None or isinstance(failure, NbdError)
    return failure.errno if failure else 0


def test_storage_that_is_away_together_costs_a_pause_and_nothing_else(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    load = CheckedLoad(lab.device, 500)
    load.wait_for(100)

    freeze(lab)
    wait_until_it_waits(lab)
    assert lab.states() == dict.fromkeys((10, 11, 12), ReplicaState.INSYNC)
    thaw(lab)
    load.wait_for(100)
    load.stop()

    assert load.errors == 0
    assert load.longest > TIMEOUT / 2
    assert is_untouched(lab)
    assert device(lab).waiting == 0
    assert load.lost(lab.device) == []
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_reads_and_flushes_wait_as_well_and_tell_of_no_doubt(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    with NbdClient(lab.device) as client, NbdClient(lab.device) as other:
        client.write(0, b"a" * 4096)
        freeze(lab)
        with meanwhile(client.read, 0, 4096) as read, meanwhile(other.flush) as flushed:
            wait_until_it_waits(lab)
            thaw(lab)

            assert read.result(20) == b"a" * 4096
            flushed.result(20)
    assert is_untouched(lab)


def test_the_wait_has_a_bound_and_what_follows_it_is_whole(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=1.0)
    lab.attach()
    with NbdClient(lab.device) as client, NbdClient(lab.device) as other:
        client.write(0, b"a" * MIB)
        freeze(lab)
        began = time.monotonic()
        with pytest.raises(NbdError) as refused:
            client.write(0, b"b" * MIB)
        took = time.monotonic() - began
        with pytest.raises(NbdError):
            other.read(0, 4096)
        thaw(lab)
        wait_until(lambda: device(lab).waiting == 0)
        found = {other.read(0, MIB), client.read(0, MIB), other.read(0, MIB)}

    assert refused.value.errno == errno.EIO
    assert 1.0 < took < 1.0 + 3 * TIMEOUT
    assert len(found) == 1
    assert found < {b"a" * MIB, b"b" * MIB}
    lab.wait_until_flushed()
    assert is_untouched(lab)
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_the_volume_goes_on_with_those_that_come_back_in_time(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    load = CheckedLoad(lab.device, 500)
    load.wait_for(100)

    freeze(lab)
    wait_until_it_waits(lab)
    lab.stores[1].thaw()
    lab.stores[2].thaw()
    lab.wait_for(10, ReplicaState.FAULTY)
    load.wait_for(100)
    load.stop()

    assert load.errors == 0
    assert lab.replicas()[10].reason == "connection"
    assert {lab.states()[11], lab.states()[12]} == ALL_IN_SYNC
    assert lab.stores[1].mark(0).events == lab.stores[2].mark(0).events == 2
    assert load.lost(lab.device) == []


def test_servers_that_were_started_anew_come_back_equal_and_the_next_flush_tells(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    with NbdClient(lab.device) as client, NbdClient(lab.device) as other:
        freeze(lab)
        with meanwhile(client.write, 0, b"c" * MIB) as written:
            wait_until_it_waits(lab)
            for store in lab.stores:
                store.kill()
            for server, store in enumerate(lab.stores):
                store.restart()
                lab.export(server)
            written.result(20)
        with pytest.raises(NbdError):
            other.flush()
        other.flush()
    assert set(lab.states().values()) == ALL_IN_SYNC
    lab.wait_until_flushed()
    lab.settle()
    assert lab.stores[0].extent(0) == lab.stores[1].extent(0) == lab.stores[2].extent(0)


def test_overlapping_writes_that_waited_keep_their_order(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    with NbdClient(lab.device) as client:
        freeze(lab)
        for letter in b"abcdefgh":
            client.socket.sendall(ask(WRITE, 64 << 10, bytes([letter]) * (64 << 10)))
        wait_until_it_waits(lab)
        for letter in b"ijklmnop":
            client.socket.sendall(ask(WRITE, 64 << 10, bytes([letter]) * (64 << 10)))
        thaw(lab)
        client.receive(16 * 16)

        assert client.read(0, 64 << 10) == b"p" * (64 << 10)
    assert is_untouched(lab)
    lab.settle()
    assert {store.extent(0, 64 << 10) for store in lab.stores} == {b"p" * (64 << 10)}


def test_what_waits_is_bounded_and_is_written_in_the_end(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    before = resident(lab)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(NbdClient(lab.device)) for _ in range(4)]
        freeze(lab)
        for client in clients:
            send_all_that_is_taken(client, ask(WRITE, 8 * MIB, b"w" * (8 * MIB)), 40)
        wait_until_it_waits(lab)
        held = resident(lab) - before
        thaw(lab)
        clients[0].socket.settimeout(20)
        clients[0].receive(16 * 7)

    assert held < BOUND
    assert is_untouched(lab)


def test_a_head_that_was_fenced_meanwhile_fails_its_requests_and_never_goes_on(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    exports = [lab.stores[server].replica(10 + server).export for server in range(3)]
    with NbdClient(lab.device) as client:
        freeze(lab)
        with meanwhile(client.write, 0, b"x" * 4096) as written:
            wait_until_it_waits(lab)
            # Only two of the servers hear of the fence. The third one still serves the old epoch.
            os.kill(lab.head_pid, signal.SIGSTOP)
            for store, export in zip(lab.stores[:2], exports, strict=False):
                store.thaw()
                store.engine.drop([export])
            os.kill(lab.head_pid, signal.SIGCONT)
            began = time.monotonic()
            code = error_of(written)
            assert time.monotonic() - began < 5
        lab.stores[2].thaw()
        time.sleep(2 * TIMEOUT)

        assert code == errno.EIO
        with pytest.raises(NbdError):
            client.write(0, b"y" * 4096)
        with pytest.raises(NbdError):
            client.read(0, 4096)
    assert lab.stores[2].extent(0, 4096) != b"y" * 4096


def test_a_volume_whose_storage_is_away_is_detached_in_bounded_time(make_lab: MakeLab) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    with NbdClient(lab.device) as client:
        freeze(lab)
        client.socket.sendall(ask(WRITE, 4096, bytes(4096)))
        wait_until_it_waits(lab)
    wait_until(lambda: device(lab).clients == 0)

    began = time.monotonic()
    lab.head.detach(VOLUME)

    assert time.monotonic() - began < 5
    assert lab.head.groups() == []
    thaw(lab)
    assert not any(store.mark(0).clean for store in lab.stores)


@pytest.mark.parametrize(("wait", "code"), [(LONG, 0), (1.0, errno.EIO)], ids=["back", "too late"])
def test_a_snapshot_outlives_a_write_that_its_origin_could_not_take(
    make_lab: MakeLab, wait: float, code: int
) -> None:
    lab = make_lab(storage_wait=wait)
    lab.attach()
    with NbdClient(lab.device) as client:
        client.write(0, b"o" * 4 * MIB)
        lab.head.snapshot(VOLUME, lab.store_spec())
        freeze(lab)
        with meanwhile(client.write, 0, b"n" * MIB) as written:
            wait_until_it_waits(lab)
            if code:
                assert error_of(written) == code
            thaw(lab)
            assert error_of(written) == code
        wait_until(lambda: not device(lab).waiting and not device(lab, 1).waiting)
        client.write(2 * MIB, b"n" * MIB)

        assert client.read(2 * MIB, MIB) == b"n" * MIB
        with NbdClient(lab.snapshot_device) as snapshot:
            assert snapshot.read(0, 4 * MIB) == b"o" * 4 * MIB
    assert not device(lab, 1).broken
    assert set(lab.states().values()) == ALL_IN_SYNC


def test_a_store_that_goes_before_its_origin_does_not_break_the_snapshot(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(servers=4, storage_wait=3.0)
    lab.attach(servers=(0, 1))
    with NbdClient(lab.device) as client:
        client.write(0, b"o" * MIB)
        lab.head.snapshot(VOLUME, lab.store_spec(servers=(2, 3)))
        lab.stores[2].freeze()
        lab.stores[3].freeze()
        with meanwhile(client.write, 0, b"n" * MIB) as written:
            wait_until(lambda: device(lab, 1).waiting > 0)
            lab.stores[0].freeze()
            lab.stores[1].freeze()
            assert error_of(written) == errno.EIO
        thaw(lab)
        wait_until(lambda: not device(lab).waiting and not device(lab, 1).waiting)
        client.write(0, b"n" * MIB)
        with NbdClient(lab.snapshot_device) as snapshot:
            assert snapshot.read(0, MIB) == b"o" * MIB
    assert not device(lab, 1).broken


def test_a_head_that_is_fenced_while_one_server_still_serves_it_writes_nothing_there(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    exports = [lab.stores[server].replica(10 + server).export for server in range(3)]
    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
        # The manager believes the third server to be lost, and cannot have it drop the old epoch.
        for store, export in zip(lab.stores[:2], exports, strict=False):
            store.engine.drop([export])
        time.sleep(TIMEOUT)

        with pytest.raises(NbdError):
            client.write(0, b"y" * 4096)
        with pytest.raises(NbdError):
            client.read(0, 4096)
    assert lab.stores[2].extent(0, 4096) == b"x" * 4096
    assert lab.stores[2].mark(0) == lab.stores[0].mark(0)


def test_a_head_that_is_refused_without_a_fence_goes_on_at_the_managers_word(
    make_lab: MakeLab,
) -> None:
    lab = make_lab(storage_wait=LONG)
    lab.attach()
    export = lab.stores[0].replica(10).export
    with NbdClient(lab.device) as client:
        client.write(0, b"x" * 4096)
        lab.stores[0].engine.drop([export])
        wait_until_it_waits(lab)

        lab.export(0)
        lab.rebuild(0, 10)
        client.write(0, b"y" * 4096)

        assert client.read(0, 4096) == b"y" * 4096
        wait_until(lambda: set(lab.states().values()) == ALL_IN_SYNC)
    assert [store.extent(0, 1) for store in lab.stores] == [b"y"] * 3
