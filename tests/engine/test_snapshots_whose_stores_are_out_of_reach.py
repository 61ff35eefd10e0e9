"""A snapshot's store does not answer, when a head process is revived or in use: what follows."""

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from agents.engines.base import Lease
from agents.protocol import Reason, ReplicaState
from deploy.local.nbd import REQUEST, REQUEST_MAGIC, WRITE, NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import SNAPSHOT, TIMEOUT, VOLUME, Lab, wait_until
from tests.engine.lost_stores import (
    NEW,
    OLD,
    STORE_TIMEOUT,
    bring_store_back,
    cannot_be_read,
    detach,
    lose_store,
    read_snapshot,
    record,
    told,
    with_snapshot,
    write_in_background,
)


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return with_snapshot(make_lab)


def test_a_group_is_revived_without_a_store_and_its_record_names_it_as_before(lab: Lab) -> None:
    lose_store(lab)
    before = record(lab)

    lab.head.revive(VOLUME)

    assert record(lab)[SNAPSHOT] == before[SNAPSHOT]
    assert told(lab).keys() == {VOLUME, SNAPSHOT}
    with NbdClient(lab.device) as client:
        assert client.read(0, len(OLD)) == OLD


def test_a_snapshot_without_its_store_is_an_error_to_read_and_not_broken_yet(lab: Lab) -> None:
    lose_store(lab)

    lab.head.revive(VOLUME)

    assert cannot_be_read(lab)
    assert not told(lab)[SNAPSHOT].broken
    stores = {dextid: one for dextid, one in lab.replicas().items() if one.mirrorid == 109}
    assert {one.state for one in stores.values()} == {ReplicaState.INSYNC}
    assert {one.reason for one in stores.values()} == {Reason.CONNECTION}


def test_a_snapshot_is_whole_once_its_store_is_back_before_the_origin_is_written(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)

    bring_store_back(lab)
    wait_until(lambda: not cannot_be_read(lab))

    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    assert read_snapshot(lab) == OLD
    assert not told(lab)[SNAPSHOT].broken
    assert not any(one.reason for one in lab.replicas().values())


def test_a_write_waits_for_the_store_and_goes_on_when_it_is_back(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)

    writing = write_in_background(lab, NEW)
    time.sleep(TIMEOUT)
    assert writing.is_alive()
    bring_store_back(lab)
    writing.join()

    assert read_snapshot(lab) == OLD
    assert not told(lab)[SNAPSHOT].broken


def test_an_origin_waits_for_a_store_no_longer_than_its_timeout(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)

    began = time.monotonic()
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
        waited = time.monotonic() - began
        client.write(1 << 20, NEW)
        again = time.monotonic() - began - waited

    assert STORE_TIMEOUT - 0.5 < waited < STORE_TIMEOUT + 5
    assert again < 1
    assert told(lab)[SNAPSHOT].broken


def test_a_store_that_is_lost_in_use_is_waited_for_as_well(lab: Lab) -> None:
    for server in (2, 3):
        lab.stores[server].kill()

    writing = write_in_background(lab, NEW)
    time.sleep(TIMEOUT)
    assert writing.is_alive()
    bring_store_back(lab)
    writing.join()

    assert read_snapshot(lab) == OLD
    assert not told(lab)[SNAPSHOT].broken


def test_the_origin_waits_for_a_store_that_is_lost_in_use_no_longer_than_its_timeout(
    lab: Lab,
) -> None:
    for server in (2, 3):
        lab.stores[server].kill()

    began = time.monotonic()
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
        waited = time.monotonic() - began
        client.write(1 << 20, NEW)
        assert client.read(0, len(NEW)) == NEW

    assert STORE_TIMEOUT - 0.5 < waited < STORE_TIMEOUT + 5
    assert time.monotonic() - began - waited < 1
    assert told(lab)[SNAPSHOT].broken
    assert cannot_be_read(lab)


def test_a_snapshot_is_not_given_up_for_an_origin_that_is_out_of_reach_itself(lab: Lab) -> None:
    for server in (2, 3):
        lab.stores[server].kill()
    writing = write_in_background(lab, NEW, suppress(NbdError))
    time.sleep(TIMEOUT)
    for server in (0, 1):
        lab.stores[server].kill()

    time.sleep(STORE_TIMEOUT + 1)

    assert not told(lab)[SNAPSHOT].broken
    for server in (0, 1):
        lab.stores[server].restart()
        lab.export(server)
    bring_store_back(lab)
    writing.join()
    wait_until(lambda: not cannot_be_read(lab))
    assert read_snapshot(lab) == OLD


def test_a_snapshot_without_its_store_is_detached_and_attached_as_it_was(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)

    reports = {one.dextid: one.state for one in detach(lab)}
    bring_store_back(lab)
    lab.attach(epoch=2, servers=(0, 1), events=9, snapshots=[lab.store_spec(2, 9, servers=(2, 3))])

    assert set(reports.values()) == {ReplicaState.INSYNC}
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    assert read_snapshot(lab) == OLD


def test_a_snapshot_without_its_store_can_be_deleted(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)

    lab.head.unsnapshot(VOLUME, SNAPSHOT)

    assert record(lab).keys() == {VOLUME}
    assert not lab.snapshot_device.is_symlink()
    with NbdClient(lab.device) as client:
        began = time.monotonic()
        client.write(0, NEW)
    assert time.monotonic() - began < 1


def test_no_write_waits_any_more_for_the_store_of_a_snapshot_that_is_deleted(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    writing = write_in_background(lab, NEW)
    time.sleep(0.2)
    began = time.monotonic()

    lab.head.unsnapshot(VOLUME, SNAPSHOT)
    writing.join()

    assert time.monotonic() - began < STORE_TIMEOUT / 2
    with NbdClient(lab.device) as client:
        assert client.read(0, len(NEW)) == NEW


def test_a_group_is_taken_down_though_a_write_waits_for_a_store_and_that_is_not_done(
    lab: Lab,
) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    client = NbdClient(lab.device)
    request = REQUEST.pack(REQUEST_MAGIC, 0, WRITE, 1, 0, len(NEW))
    client.socket.sendall(request + NEW)
    time.sleep(0.2)
    client.socket.close()
    began = time.monotonic()

    detach(lab)
    took = time.monotonic() - began
    bring_store_back(lab)
    lab.attach(epoch=2, servers=(0, 1), events=9, snapshots=[lab.store_spec(2, 9, servers=(2, 3))])

    assert took < STORE_TIMEOUT / 2
    assert read_snapshot(lab) == OLD
    with NbdClient(lab.device) as client:
        assert client.read(0, len(OLD)) == OLD


def test_a_store_is_looked_for_where_the_manager_says_that_it_is_exported_now(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    for server in (2, 3):
        lab.stores[server].restart()
    lab.stores[2].lease(92, 1, 2, epoch=5)  # under another name than before

    lab.head.rebuild(VOLUME, 109, lab.stores[2].replica(92, epoch=5), replaces=0)
    wait_until(lambda: not cannot_be_read(lab))

    assert lab.states()[92] is ReplicaState.INSYNC
    assert lab.states()[93] is ReplicaState.FAULTY


def unmarkable(lab: Lab) -> Lease:
    """Lease replica 11 so that its mark is where no file system writes."""
    lease = lab.stores[1].lease(11, 0, 1, epoch=2)
    lab.stores[1].engine.drop([lease.name])
    return replace(lease, meta_offset=(1 << 63) - 4096)


def test_every_record_of_a_group_that_comes_up_names_all_its_devices(lab: Lab) -> None:
    detach(lab)
    spec = lab.store_spec(2, 1, servers=(2, 3))
    lab.export(0, epoch=2)
    lab.stores[1].engine.export([unmarkable(lab)])
    order = lab.order(2, lab.mirrors(2, (0, 1), 1, dirty=False), [spec])
    for server in (2, 3):
        os.kill(lab.stores[server].pid, signal.SIGSTOP)

    attaching = threading.Thread(target=lab.head.attach, args=(order,))
    attaching.start()
    found = []
    while attaching.is_alive():
        time.sleep(0.05)
        found.append(record(lab))

    assert {tuple(devices) for devices in found} == {(VOLUME, SNAPSHOT)}
    assert lab.states()[11] is ReplicaState.FAULTY  # which had the record saved in the meantime


def test_links_that_nothing_serves_go_with_their_snapshot(lab: Lab) -> None:
    lab.head.unsnapshot(VOLUME, SNAPSHOT)
    socket = lab.folder / "h" / f"v{SNAPSHOT:08x}.sock"
    lab.snapshot_device.symlink_to(socket)

    lab.head.unsnapshot(VOLUME, SNAPSHOT)

    assert not lab.snapshot_device.is_symlink()
    assert lab.device.is_symlink()
