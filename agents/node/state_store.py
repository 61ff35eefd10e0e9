"""The agent's state file, which survives a power cut: SQLite, every commit fsynced."""

import errno
import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.errors import AgentError, newer_file

UPGRADES = (
    """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (lvolid INTEGER PRIMARY KEY, min_epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    eventid INTEGER, number INTEGER, method TEXT,
    incarnation INTEGER NOT NULL, struct TEXT NOT NULL, report TEXT NOT NULL,
    running INTEGER NOT NULL, touched INTEGER NOT NULL,
    PRIMARY KEY (eventid, number, method)
) WITHOUT ROWID;
""",
)
"""What makes each version of the schema of the one before it, the first of an empty file. Files
that were written before versions were have the tables of version 1, and version 0."""
VERSION = len(UPGRADES)
NODE_UUID = "node uuid"
OTHERS = 0o077


class NewerState(AgentError):
    """A newer agent wrote the state file; this one would misread it."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(errno.EPROTONOSUPPORT, newer_file(path, version, VERSION))


class StateStore:
    """One connection for all threads; a transaction holds it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_private(path)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            version = self._version()
            if version > VERSION:
                raise NewerState(path, version)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._upgrade(version)
        except BaseException:
            self._connection.close()
            raise

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

    def node_uuid(self) -> str:
        """Tell who this node is, whatever its addresses: a name made at its first start."""
        if not self.fact(NODE_UUID):
            self.learn(NODE_UUID, str(uuid.uuid4()))
        return self.fact(NODE_UUID)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _upgrade(self, version: int) -> None:
        """Bring the schema to our version, each step with its number in one transaction."""
        for step, script in enumerate(UPGRADES[version:], start=version + 1):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {step}; COMMIT;"
            )


def _keep_private(path: Path) -> None:
    """Open the folder to nobody else, nor what is in it; SQLite's files take after the first."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for ours in (path.parent, *path.parent.rglob("*")):
        with suppress(OSError):  # gone meanwhile
            mode = ours.lstat().st_mode
            if mode & OTHERS and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                ours.chmod(stat.S_IMODE(mode) & ~OTHERS)
