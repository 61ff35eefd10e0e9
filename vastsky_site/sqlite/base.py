"""Django's SQLite backend with writers queued inside the process.

SQLite makes a second writer sleep and poll, unfairly: with 16 clients the slowest waited seconds
where a lock in the process makes them wait a fraction of one (worker and beat, being processes
of their own, still meet at SQLite's lock).
"""
# mypy: disable-error-code="misc"
# The hooks that Django calls around a transaction are not in its stubs.

import threading
from collections import defaultdict
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

_LOCKS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""One per database file."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Holds the file's lock from BEGIN IMMEDIATE to the end of the transaction."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: threading.Lock | None = None

    def _start_transaction_under_autocommit(self) -> None:
        settings = self.settings_dict
        lock = _LOCKS[str(settings["NAME"])]
        if not lock.acquire(timeout=settings["OPTIONS"].get("timeout", 5)):
            raise OperationalError("database is locked by another thread")
        self._held = lock
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._let_go()
            raise

    def _commit(self) -> None:
        super()._commit()
        self._let_go()

    def _rollback(self) -> None:
        super()._rollback()
        self._let_go()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None
