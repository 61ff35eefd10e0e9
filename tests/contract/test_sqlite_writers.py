"""The SQLite backend's queue of writers: one at a time, and nobody keeps the place for ever."""

import sqlite3
import subprocess
import sys
import time
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


HOLD = """
import sys, time
import django
from django.conf import settings
options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
database = {"ENGINE": "vastsky_site.sqlite", "NAME": sys.argv[1], "OPTIONS": options}
settings.configure(DATABASES={"default": database})
from django.db import connection, transaction
for _ in range(int(sys.argv[2])):
    with transaction.atomic():
        connection.cursor()
        print("in", flush=True)
        time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def other_process(file: Path) -> Iterator[Callable[[int, float], None]]:
    """Let another process write again and again, without a pause, from the moment this returns."""
    processes = []

    def begin_writing(times: int, seconds: float) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(file), str(times), str(seconds)],
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"

    yield begin_writing
    for process in processes:
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_writers_of_two_processes_take_turns(
    open_database: Open, other_process: Callable[[int, float], None]
) -> None:
    ours = open_database()
    ours.settings_dict["OPTIONS"]["timeout"] = 20
    other_process(20, 0.1)

    waited = []
    for _ in range(4):
        began = time.monotonic()
        begin(ours)
        waited.append(time.monotonic() - began)
        end(ours, ours.commit)

    assert max(waited) < 0.5  # and not until the other has nothing to write any more


def test_a_process_that_is_killed_keeps_no_place(open_database: Open, file: Path) -> None:
    ours = open_database()
    ours.settings_dict["OPTIONS"]["timeout"] = 20
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file), "1", "60"], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"in\n"

    other.kill()
    other.communicate()

    begin(ours)
    end(ours, ours.commit)


def test_a_change_that_is_a_transaction_of_its_own_waits_in_turn_too(open_database: Open) -> None:
    first, second = open_database(), open_database()
    with first.cursor() as cursor:
        cursor.execute("CREATE TABLE things (name TEXT)")
    begin(first)

    with second.cursor() as cursor, pytest.raises(OperationalError, match="another thread"):
        cursor.execute("INSERT INTO things VALUES ('late')")

    end(first, first.commit)
    with second.cursor() as cursor:
        cursor.execute("INSERT INTO things VALUES ('in time')")
        cursor.executemany("INSERT INTO things VALUES (%s)", [("and",), ("again",)])
        assert cursor.execute("SELECT count(*) FROM things").fetchone() == (3,)


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
