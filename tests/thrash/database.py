"""What only the manager's database tells."""

import sqlite3
from contextlib import closing

import psycopg

from tests.thrash.arena import Arena

BROKEN = "SELECT name FROM volumes_logicalvolume WHERE broken"


def broken_snapshots(arena: Arena) -> set[str]:
    """Name the snapshots that lost data of their stores, and are known to have; else OSError."""
    try:
        return _broken(arena)
    except (psycopg.Error, sqlite3.Error) as error:
        raise OSError(str(error)) from error


def _broken(arena: Arena) -> set[str]:
    if arena.database:
        with psycopg.connect(arena.database.url) as connection:
            return {str(name) for (name,) in connection.execute(BROKEN)}
    path = arena.place.home / "vastsky.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as file:
        return {str(name) for (name,) in file.execute(BROKEN)}
