"""Django's SQLite backend with writers queued, those of this process and of others."""
# mypy: disable-error-code="misc"
# The hooks that Django calls around a transaction are not in its stubs.

from typing import Any

from django.db.backends.sqlite3 import base, creation

from inventory import calls
from vastsky_site.sqlite import writers

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
TIMEOUT = 20.0


class Cursor(base.SQLiteCursorWrapper):
    """A change that is a transaction of its own waits for its turn like any other."""

    wrapper: "DatabaseWrapper"

    def execute(self, query: str, params: Any = None) -> Any:
        """Execute a statement, as the only writer if it writes."""
        if not self._writes(query):
            return super().execute(query, params)
        self.wrapper.begin_writing()
        try:
            return super().execute(query, params)
        finally:
            self.wrapper.end_writing()

    def executemany(self, query: str, param_list: Any) -> Any:
        """Execute a statement many times, as the only writer if it writes."""
        if not self._writes(query):
            return super().executemany(query, param_list)
        self.wrapper.begin_writing()
        try:
            return super().executemany(query, param_list)
        finally:
            self.wrapper.end_writing()

    def _writes(self, query: str) -> bool:
        return not self.wrapper.is_writer and query.lstrip()[:7].upper().startswith(WRITES)


class Creation(creation.DatabaseCreation):
    """Removes a test's database whole."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        super()._destroy_test_db(test_database_name, verbosity)
        writers.forget(str(test_database_name))


class DatabaseWrapper(base.DatabaseWrapper):
    """Is the file's writer from BEGIN IMMEDIATE to the end of the transaction."""

    creation_class = Creation

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writers: writers.Writers | None = None

    @property
    def is_writer(self) -> bool:
        """Tell whether this connection is the writer."""
        return self._writers is not None

    def begin_writing(self) -> None:
        """Become the file's writer; OperationalError if that takes too long."""
        settings = self.settings_dict
        writers_of_file = writers.of_file(str(settings["NAME"]))
        writers_of_file.enter(calls.left(settings["OPTIONS"].get("timeout", TIMEOUT)))
        self._writers = writers_of_file

    def end_writing(self) -> None:
        """Let the next one write, if we were the writer."""
        if self._writers is not None:
            writers_of_file, self._writers = self._writers, None
            writers_of_file.leave()

    def create_cursor(self, name: str | None = None) -> Any:  # noqa: ARG002 - Django decides
        """Make a cursor that waits for its turn to write."""
        cursor = self.connection.cursor(factory=Cursor)
        cursor.wrapper = self
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        self.begin_writing()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self.end_writing()
            raise

    def _commit(self) -> None:
        super()._commit()
        self.end_writing()

    def _rollback(self) -> None:
        super()._rollback()
        self.end_writing()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self.end_writing()
