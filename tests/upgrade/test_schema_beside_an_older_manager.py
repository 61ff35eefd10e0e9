"""A manager of the release before works on the database of this one: a rolling upgrade needs it.

It inserts rows without the columns that are new, reads and writes those that it knows, and deletes
rows on which new tables hang that it has never heard of.
"""

from collections.abc import Iterator

import pytest
from django.apps.registry import Apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

BEFORE = {
    "inventory": "0019_events_are_rows",
    "volumes": "0019_problems_that_somebody_knows_of",
    "vastsky_site": "0002_roles",
}
"""The last migrations of the release before. Move them on with each release."""

pytestmark = pytest.mark.django_db

Columns = dict[str, set[str]]

PRESENT = {
    "postgresql": "SELECT column_name FROM information_schema.columns WHERE table_name = %s",
    "sqlite": "SELECT name FROM pragma_table_info(%s)",
}
REQUIRED = {
    "postgresql": "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
    "sqlite": "SELECT name FROM pragma_table_info(%s) WHERE [notnull] AND dflt_value IS NULL",
}
RESTRICTING = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND confdeltype IN ('a', 'r')
"""


@pytest.fixture(scope="module")
def before() -> Columns:
    """Tell the tables and columns that the release before knows."""
    state = MigrationLoader(None).project_state(list(BEFORE.items()))
    return {
        model._meta.db_table: {field.column for field in model._meta.concrete_fields}
        for model in models_of(state.apps)
    }


def models_of(apps: Apps) -> Iterator[type[Model]]:
    return (model for model in apps.get_models() if model._meta.app_label in BEFORE)


def read(query: str, *values: str) -> set[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return set(cursor.fetchall())


def columns(queries: dict[str, str], table: str) -> set[str]:
    return {name for (name,) in read(queries[connection.vendor], table)}


def test_it_finds_all_that_it_knows(before: Columns) -> None:
    assert before
    for table, known in before.items():
        assert known <= columns(PRESENT, table), table


def test_it_inserts_rows_without_the_columns_that_are_new(before: Columns) -> None:
    for table, known in before.items():
        required = columns(REQUIRED, table)
        assert required <= known, f"{table} needs defaults in the database (db_default)"


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite serves one manager")
def test_it_deletes_rows_on_which_new_tables_hang(before: Columns) -> None:
    ours = tables_now()
    held = {
        (table, target)
        for table, target in read(RESTRICTING)
        if table in ours - before.keys() and target in ours
    }

    assert not held, "ON DELETE CASCADE or SET NULL: an older manager cannot empty these tables"


def tables_now() -> set[str]:
    state = MigrationLoader(None).project_state()
    return {model._meta.db_table for model in models_of(state.apps)}
