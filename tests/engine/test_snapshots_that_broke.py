"""A snapshot missed what its origin overwrote: it is broken, and says so everywhere."""

import errno
from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.protocol import ReplicaState
from deploy.local.nbd import NbdClient, NbdError
from tests.engine.conftest import MakeLab
from tests.engine.lab import SNAPSHOT, VOLUME, Lab
from tests.engine.lost_stores import (
    NEW,
    bring_store_back,
    cannot_be_read,
    detach,
    kill_head,
    lose_store,
    record,
    told,
    with_snapshot,
)


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return with_snapshot(make_lab)


def test_a_snapshot_that_missed_a_write_is_broken_in_every_later_life(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    bring_store_back(lab)

    kill_head(lab)
    lab.head.revive(VOLUME)

    assert told(lab)[SNAPSHOT].broken
    assert cannot_be_read(lab)
    reports = {one.dextid: one for one in detach(lab)}
    assert {reports[dextid].state for dextid in (92, 93)} == {ReplicaState.FAULTY}


def test_a_broken_snapshot_says_so_in_its_store_once_that_is_back(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    bring_store_back(lab)
    kill_head(lab)
    lab.head.revive(VOLUME)
    detach(lab)

    # By somebody who knows nothing of what happened here.
    lab.attach(epoch=2, servers=(0, 1), events=9, snapshots=[lab.store_spec(2, 9, servers=(2, 3))])

    assert told(lab)[SNAPSHOT].broken
    assert cannot_be_read(lab)


@pytest.mark.parametrize("revived", [True, False])
def test_that_a_snapshot_broke_is_on_disk_before_the_write_is_acknowledged(
    lab: Lab, *, revived: bool
) -> None:
    if revived:
        lose_store(lab)
        lab.head.revive(VOLUME)
    else:
        for server in (2, 3):
            lab.stores[server].kill()
    in_the_way = state_cannot_be_saved(lab)

    with NbdClient(lab.device) as client:
        with pytest.raises(NbdError) as refused:
            client.write(0, NEW)
        in_the_way.rmdir()
        client.write(0, NEW)

    assert refused.value.errno == errno.EIO
    assert record(lab)[SNAPSHOT]["broken"]


def state_cannot_be_saved(lab: Lab) -> Path:
    """Put a folder where the next state file is to be written."""
    path = lab.folder / "h" / "groups" / f"{VOLUME:08x}" / "group.json.new"
    path.unlink(missing_ok=True)
    path.mkdir()
    return path


def test_a_store_that_lost_what_it_held_breaks_its_snapshot(lab: Lab) -> None:
    lose_store(lab)
    for server in (2, 3):
        with lab.stores[server].disk.open("r+b") as disk:
            disk.seek(lab.offset_gb(1) << 30)
            disk.write(bytes(1 << 20))
    bring_store_back(lab)

    lab.head.revive(VOLUME)

    assert told(lab)[SNAPSHOT].broken
    assert cannot_be_read(lab)


@pytest.mark.parametrize("alive", [True, False])
def test_that_a_snapshot_broke_is_told_whenever_its_group_is_taken_down_dead_or_alive(
    lab: Lab, *, alive: bool
) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    if not alive:
        kill_head(lab)

    told = [{one.dextid: one.state for one in detach(lab)}]
    told.append({one.dextid: one.state for one in lab.head.detach(VOLUME)})

    for states in told:
        assert {states[dextid] for dextid in (92, 93)} == {ReplicaState.FAULTY}


def test_a_head_remembers_that_a_snapshot_broke_there_whatever_it_is_told_later(lab: Lab) -> None:
    lose_store(lab)
    lab.head.revive(VOLUME)
    with NbdClient(lab.device) as client:
        client.write(0, NEW)
    kill_head(lab)
    lab.head.detach(VOLUME)
    bring_store_back(lab)

    lab.attach(epoch=2, servers=(0, 1), events=9, snapshots=[lab.store_spec(2, 9, servers=(2, 3))])

    assert told(lab)[SNAPSHOT].broken
    assert cannot_be_read(lab)


def test_a_store_that_the_kernel_engine_has_laid_is_refused_and_stays_whole(lab: Lab) -> None:
    lab.head.detach(VOLUME)
    for server in (2, 3):
        with lab.stores[server].disk.open("r+b") as disk:
            disk.seek(lab.offset_gb(1) << 30)
            disk.write(b"SnAp\1\0\0\0")

    with pytest.raises(EngineError, match="is the kernel engine's: attach its origin to a head of"):
        lab.attach(epoch=2, servers=(0, 1), snapshots=[lab.store_spec(2, 9, servers=(2, 3))])

    lab.head.detach(VOLUME)
    with lab.stores[2].disk.open("rb") as disk:
        disk.seek(lab.offset_gb(1) << 30)
        assert disk.read(8) == b"SnAp\1\0\0\0"
