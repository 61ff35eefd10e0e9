"""Every order that takes time, from before its work starts until its result is acknowledged."""

import errno
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.errors import AgentError
from agents.node.state_store import StateStore
from agents.protocol import Progress, Report
from agents.struct_codec import from_struct, to_struct

KEEP_SECONDS = 7 * 86400
SUBJECT = ("lvolid", "mirrorid", "snapshot")
HIGHEST_EVENT = "highest event"


@dataclass(frozen=True, slots=True)
class Key:
    """What makes an order the same order."""

    eventid: int
    order: int
    method: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One order as it was taken, and what became of it so far."""

    key: Key
    struct: dict[str, Any]
    report: Report


class AnotherOrder(AgentError):
    """The numbers of an order are known for something else."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ESTALE, message)


class Journal:
    """The orders table."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.highest_event = int(store.fact(HIGHEST_EVENT) or 0)

    def begin(self, key: Key, incarnation: int, struct: dict[str, Any]) -> Report | None:
        """Record an order before its work starts; the report of one that is known already.

        AnotherOrder where these numbers are known for something else.
        """
        with self._store.transaction() as connection:
            row = connection.execute(
                "SELECT report, struct FROM orders WHERE eventid = ? AND number = ? AND method = ?",
                (key.eventid, key.order, key.method),
            ).fetchone()
            if row:
                _require_same(key, json.loads(row[1]), struct)
                return _report(row[0])
            start = Report(key.eventid, key.order, Progress.RUNNING)
            connection.execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
                (*_key(key), incarnation, json.dumps(struct), _text(start), int(time.time())),
            )
            highest = max(self.highest_event, key.eventid)
            connection.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", (HIGHEST_EVENT, str(highest))
            )
        self.highest_event = highest
        return None

    def save(self, key: Key, report: Report) -> None:
        """Record how far an order got; one that is no longer running stays so."""
        running = report.progress is Progress.RUNNING
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE orders SET report = ?, running = ?, touched = ?"
                " WHERE eventid = ? AND number = ? AND method = ? AND running",
                (_text(report), running, int(time.time()), *_key(key)),
            )

    def find(self, eventid: int, order: int) -> Entry | None:
        """Recall an order by its numbers."""
        with self._store.reading() as connection:
            row = connection.execute(
                "SELECT eventid, number, method, struct, report FROM orders"
                " WHERE eventid = ? AND number = ?",
                (eventid, order),
            ).fetchone()
        return _entry(row) if row else None

    def running(self, method: str) -> list[Entry]:
        """Tell the orders of a method whose work has not ended."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT eventid, number, method, struct, report FROM orders"
                " WHERE running AND method = ?",
                (method,),
            ).fetchall()
        return [_entry(row) for row in rows]

    def forget(self, key: Key) -> None:
        """Forget an order whose work is to start anew when it is told again."""
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM orders WHERE eventid = ? AND number = ? AND method = ?", _key(key)
            )

    def acknowledge(self, eventids: Sequence[int]) -> None:
        """Forget the results that the manager has; what runs is kept."""
        with self._store.transaction() as connection:
            connection.executemany(
                "DELETE FROM orders WHERE eventid = ? AND NOT running",
                [(eventid,) for eventid in eventids],
            )

    def prune(self) -> None:
        """Forget results that nobody asked for in 7 days."""
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM orders WHERE NOT running AND touched < ?",
                (int(time.time()) - KEEP_SECONDS,),
            )

    def drop_older(self, incarnation: int) -> None:
        """Forget the results of an older manager: a restored one counts its events anew."""
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM orders WHERE NOT running AND incarnation < ?", (incarnation,)
            )


def _require_same(key: Key, known: dict[str, Any], told: dict[str, Any]) -> None:
    if _subject(known) != _subject(told):
        raise AnotherOrder(
            f"event {key.eventid} is known as the {key.method} of something else:"
            " the manager that orders this is older than what this node knows"
        )


def _subject(struct: dict[str, Any]) -> tuple[Any, ...]:
    """Name what an order is about: a repeat may tell the rest in another way."""
    extent = struct.get("extent") or struct.get("target") or {}
    return (*(struct.get(name) for name in SUBJECT), extent.get("dextid"))


def _key(key: Key) -> tuple[int, int, str]:
    return key.eventid, key.order, key.method


def _text(report: Report) -> str:
    return json.dumps(to_struct(report))


def _report(text: str) -> Report:
    return from_struct(Report, json.loads(text))


def _entry(row: tuple[int, int, str, str, str]) -> Entry:
    eventid, order, method, struct, report = row
    return Entry(Key(eventid, order, method), json.loads(struct), _report(report))
