"""The SQLite backend's queue of writers: one at a time, and nobody keeps the place for ever."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import ConnectionHandler, OperationalError

from vastsky_site.sqlite.base import DatabaseWrapper

Open = Callable[[], DatabaseWrapper]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite3"


@pytest.fixture
def open_database(file: Path, db: None) -> Iterator[Open]:
    """Make connections to one file, as each thread of the web server has one."""
    made: list[DatabaseWrapper] = []

    def make() -> DatabaseWrapper:
        options = {"transaction_mode": "IMMEDIATE", "timeout": 0.2}
        database = {"ENGINE": "vastsky_site.sqlite", "NAME": file, "OPTIONS": options}
        handler: Any = ConnectionHandler({"default": database})
        wrapper: DatabaseWrapper = handler["default"]
        wrapper.inc_thread_sharing()
        made.append(wrapper)
        return wrapper

    yield make
    for wrapper in made:
        wrapper.close()


def begin(wrapper: DatabaseWrapper) -> None:
    wrapper.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(wrapper: DatabaseWrapper, how: Callable[[], None]) -> None:
    how()
    wrapper.set_autocommit(True)


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_writer_waits_for_the_one_before_and_then_has_its_turn(
    open_database: Open, how: str
) -> None:
    first, second = open_database(), open_database()
    begin(first)

    with ThreadPoolExecutor(1) as other, pytest.raises(OperationalError, match="another thread"):
        other.submit(begin, second).result()

    end(first, getattr(first, how))
    begin(second)
    end(second, second.commit)


def test_a_transaction_that_could_not_begin_keeps_no_place(open_database: Open, file: Path) -> None:
    first, second = open_database(), open_database()
    process = sqlite3.connect(file, isolation_level=None)
    process.execute("BEGIN IMMEDIATE")

    with pytest.raises(OperationalError, match="locked"):
        begin(first)

    process.rollback()
    process.close()
    begin(second)
    end(second, second.commit)


def test_a_connection_that_is_closed_keeps_no_place(open_database: Open) -> None:
    first, second = open_database(), open_database()
    begin(first)

    first.close()

    begin(second)
    end(second, second.commit)


def test_writers_of_other_files_do_not_wait(open_database: Open, tmp_path: Path) -> None:
    first, second = open_database(), open_database()
    second.settings_dict["NAME"] = str(tmp_path / "other.sqlite3")
    begin(first)

    begin(second)

    end(second, second.commit)
    end(first, first.commit)
