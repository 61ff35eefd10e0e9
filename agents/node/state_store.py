"""The agent's memory that survives a power cut: one SQLite file, every commit fsynced."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (lvolid INTEGER PRIMARY KEY, min_epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    eventid INTEGER, number INTEGER, method TEXT,
    incarnation INTEGER NOT NULL, struct TEXT NOT NULL, report TEXT NOT NULL,
    running INTEGER NOT NULL, touched INTEGER NOT NULL,
    PRIMARY KEY (eventid, number, method)
) WITHOUT ROWID;
"""


class Store:
    """One connection for all threads; a transaction holds it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all or nothing; on return it is on stable storage."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look, without a transaction."""
        with self._lock:
            yield self._connection

    def fact(self, name: str) -> str:
        """Recall a fact; "" if it was never learnt."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def learn(self, name: str, value: str) -> None:
        """Remember a fact; nothing is written if it is known."""
        if self.fact(name) == value:
            return
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()
