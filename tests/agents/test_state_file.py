"""An agent's state file is read by the next version of the agent, never by the one before."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agents.node import state_store
from agents.node.fences import Fences
from agents.node.journal import Entry, Journal, Key
from agents.node.state_store import NewerState, StateStore
from agents.protocol import (
    Progress,
    PullOrder,
    Reason,
    RebuildOrder,
    ReplicaReport,
    ReplicaSpec,
    ReplicaState,
    Report,
    ShredOrder,
)
from agents.struct_codec import from_struct

GOLDEN = Path(__file__).parent / "golden" / "agent-of-9b700b5.db"
"""Written by the code of commit 9b700b5, which gave its state files no version."""
DISK = "7b6f0f52-3f0e-4b77-8a4d-0a8c5c1de001"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(GOLDEN, tmp_path / "agent.db"))


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    store = StateStore(path)
    yield store
    store.close()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def set_version(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")


def test_a_file_without_a_version_is_brought_to_ours(path: Path) -> None:
    assert version(path) == 0
    StateStore(path).close()

    assert version(path) == state_store.VERSION


def test_facts_and_fences_of_the_first_agents_are_known(store: StateStore) -> None:
    fences = Fences(store)

    assert store.fact("cluster") == "0d9c7c1e-54a1-4a7b-9a63-6c6ab2a0f0c1"
    assert store.fact("server id") == "5"
    assert store.fact("disk /srv/disk-1.img") == f"{DISK} 4294967296"
    assert store.fact("boot of group 7") == "0e8d6a4b-3a60-45d5-a1c5-4d7f1b3c9a11"
    assert fences.incarnation == 3
    assert [fences.lowest(lvolid) for lvolid in (7, 8, 9)] == [41, 0, 2]


def test_results_of_the_first_agents_are_told(store: StateStore) -> None:
    journal = Journal(store)
    attached, pulled = journal.find(11, 1), journal.find(14, 1)

    assert attached is not None
    assert attached.report == Report(
        11,
        1,
        Progress.DONE,
        replicas=(
            ReplicaReport(100, 8, ReplicaState.INSYNC, 3),
            ReplicaReport(101, 8, ReplicaState.FAULTY, 2, Reason.IO),
        ),
    )
    assert pulled is not None
    assert pulled.report == Report(14, 1, Progress.FAILED, errno=5, message="Input/output error")


def test_orders_that_the_first_agents_had_begun_go_on(store: StateStore) -> None:
    journal = Journal(store)
    (rebuild,), (shred,) = journal.running("rebuild"), journal.running("shred")

    assert rebuild.key == Key(12, 2, "rebuild")
    assert (rebuild.report.done_mib, rebuild.report.total_mib) == (5, 1024)
    assert from_struct(RebuildOrder, rebuild.struct).replica == ReplicaSpec(
        103, ("10.0.1.24",), 8884, "103.41-s", ReplicaState.SPARE
    )
    assert shred.report.done_mib == 512
    assert from_struct(ShredOrder, shred.struct).extent.disk == DISK
    assert journal.running("pull") == []


def test_an_order_that_ended_is_still_readable_as_an_order(store: StateStore) -> None:
    entry = Journal(store).find(14, 1)

    assert isinstance(entry, Entry)
    assert from_struct(PullOrder, entry.struct).source.export == "200.2-s"


def test_a_newer_file_is_refused_untouched(path: Path) -> None:
    set_version(path, state_store.VERSION + 1)
    before = path.read_bytes()

    with pytest.raises(NewerState, match=r"agent.db is of version 2, and this agent knows 1"):
        StateStore(path)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.db"]


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "CREATE TABLE extra (x); INSERT INTO nothing VALUES (1);"
    monkeypatch.setattr(state_store, "UPGRADES", (*state_store.UPGRADES, broken))
    monkeypatch.setattr(state_store, "VERSION", 2)

    with pytest.raises(sqlite3.Error):
        StateStore(path)

    assert version(path) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'extra'").fetchall()
