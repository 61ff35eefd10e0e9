"""What an agent remembers of its orders, and what it does when it cannot."""

import errno
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.errors import AgentError
from agents.node import journal as journal_module
from agents.node.fences import Fences, Stale
from agents.node.journal import Journal, Key
from agents.node.orders import Orders, RunningOrder
from agents.node.state_store import StateStore
from agents.protocol import ExtentRef, Progress, Report, ShredOrder

EXTENT = ExtentRef(1, 1, "disk", 0, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "agent.db")
    yield store
    store.close()


@pytest.fixture
def orders(store: StateStore) -> Orders:
    return Orders(Journal(store), Fences(store))


def shred(eventid: int, order: int = 1, incarnation: int = 1) -> ShredOrder:
    return ShredOrder(eventid, order, incarnation, EXTENT)


def test_a_repeat_joins_the_running_order_and_recalls_its_end(orders: Orders) -> None:
    runs, gate = [], threading.Event()

    def work(_: Any) -> tuple[()]:
        runs.append(1)
        gate.wait(10)
        return ()

    first = [orders.take("shred", shred(1), work).progress for _ in range(3)]
    gate.set()
    last = [orders.take("shred", shred(1), work, wait=10).progress for _ in range(3)]

    assert set(first) == {Progress.RUNNING}
    assert set(last) == {Progress.DONE}
    assert len(runs) == 1


def test_a_new_try_of_an_event_runs_again(orders: Orders) -> None:
    def fails(_: Any) -> tuple[()]:
        raise AgentError(errno.EBUSY, "in use\x07")

    failed = orders.take("shred", shred(1), fails, wait=10)
    again = orders.take("shred", shred(1), lambda _: (), wait=10)
    other = orders.take("shred", shred(1, order=2), lambda _: (), wait=10)

    assert (failed.progress, failed.errno, failed.message) == (
        Progress.FAILED,
        errno.EBUSY,
        "in use?",
    )
    assert again == failed
    assert other.progress is Progress.DONE


def test_a_defect_fails_the_order_and_tells_no_secrets(orders: Orders) -> None:
    def breaks(_: Any) -> tuple[()]:
        raise KeyError("secret")

    report = orders.take("shred", shred(1), breaks, wait=10)

    assert report.progress is Progress.FAILED
    assert "secret" not in report.message


def test_an_end_that_cannot_be_recorded_is_told_all_the_same(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Journal, "save", full)
    assert orders.take("shred", shred(1), lambda _: (), wait=10).progress is Progress.DONE
    assert orders.report(1, 1).progress is Progress.DONE

    orders.acknowledge((1,))
    assert orders.report(1, 1).progress is Progress.UNKNOWN


def test_work_goes_on_whose_progress_cannot_be_recorded(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def work(task: RunningOrder) -> tuple[()]:
        task.save()
        return ()

    monkeypatch.setattr(Journal, "save", full)
    assert orders.take("shred", shred(1), work, wait=10).progress is Progress.DONE


def test_a_restored_manager_does_not_meet_the_results_of_its_former_life(orders: Orders) -> None:
    orders.admit(1)
    orders.take("shred", shred(1), lambda _: (), wait=10)
    orders.admit(2)

    assert orders.report(1, 1).progress is Progress.UNKNOWN
    with pytest.raises(Stale):
        orders.admit(1)


def test_results_nobody_asks_for_are_pruned_after_a_week(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(store)
    for eventid in (1, 2):
        journal.begin(Key(eventid, 1, "shred"), 1, {})
    journal.save(Key(1, 1, "shred"), Report(1, 1, Progress.DONE))

    journal.prune()
    assert journal.find(1, 1) is not None
    monkeypatch.setattr(journal_module, "KEEP_SECONDS", -1)
    journal.prune()

    assert journal.find(1, 1) is None
    assert journal.find(2, 1) is not None


def test_fences_never_fall_and_outlive_the_process(store: StateStore) -> None:
    fences = Fences(store)
    fences.fence_below(5, 7)
    fences.fence_below(5, 3)

    again = Fences(store)
    assert again.lowest(5) == 7
    again.check(5, 7)
    with pytest.raises(Stale):
        again.check(5, 6)
