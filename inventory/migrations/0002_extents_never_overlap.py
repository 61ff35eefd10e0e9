"""Hold in the database what Django's constraints cannot say: no GB belongs to two extents.

SQLite loses the triggers of a table that a later migration rebuilds: such a migration drops them
first and makes them anew.
"""

from collections.abc import Sequence

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Trusted since PostgreSQL 13: the database's owner may create it. Left behind on the way back.
POSTGRESQL = [
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    """ALTER TABLE inventory_extent ADD CONSTRAINT extent_no_overlap
       EXCLUDE USING gist (disk_id WITH =, int8range(offset_gb, offset_gb + size_gb) WITH &&)""",
    """CREATE FUNCTION extent_within_disk() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF NEW.offset_gb + NEW.size_gb > (SELECT capacity_gb FROM inventory_disk
                                           WHERE id = NEW.disk_id) THEN
           RAISE EXCEPTION 'extent_within_disk' USING ERRCODE = '23514';
         END IF;
         RETURN NEW;
       END $$""",
    """CREATE TRIGGER extent_within_disk
       BEFORE INSERT OR UPDATE OF disk_id, offset_gb, size_gb ON inventory_extent
       FOR EACH ROW EXECUTE FUNCTION extent_within_disk()""",
    """CREATE FUNCTION idspace_never_falls() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         RAISE EXCEPTION 'idspace_never_falls' USING ERRCODE = '23514';
       END $$""",
    """CREATE TRIGGER idspace_never_falls BEFORE UPDATE OF next_id ON inventory_idspace
       FOR EACH ROW WHEN (NEW.next_id < OLD.next_id) EXECUTE FUNCTION idspace_never_falls()""",
]
POSTGRESQL_REVERSE = [
    "DROP TRIGGER idspace_never_falls ON inventory_idspace",
    "DROP FUNCTION idspace_never_falls()",
    "DROP TRIGGER extent_within_disk ON inventory_extent",
    "DROP FUNCTION extent_within_disk()",
    "ALTER TABLE inventory_extent DROP CONSTRAINT extent_no_overlap",
]

# A neighbour can only overlap from the left if it is the nearest extent that begins at or before
# the new one; from the right if it is the nearest that begins after it: both are index look-ups.
OVERLAPS = """
    SELECT 1 WHERE EXISTS (
        SELECT 1 FROM (SELECT offset_gb, size_gb FROM inventory_extent
                       WHERE disk_id = NEW.disk_id AND offset_gb <= NEW.offset_gb AND id <> NEW.id
                       ORDER BY offset_gb DESC LIMIT 1)
        WHERE offset_gb + size_gb > NEW.offset_gb)
    OR EXISTS (
        SELECT 1 FROM inventory_extent
        WHERE disk_id = NEW.disk_id AND offset_gb > NEW.offset_gb
          AND offset_gb < NEW.offset_gb + NEW.size_gb AND id <> NEW.id)"""
BEYOND = """NEW.offset_gb + NEW.size_gb >
    (SELECT capacity_gb FROM inventory_disk WHERE id = NEW.disk_id)"""
SQLITE = [
    f"""CREATE TRIGGER {name}_{verb} BEFORE {event} ON inventory_extent
        WHEN {condition} BEGIN SELECT RAISE(ABORT, '{name}'); END"""
    for name, condition in (
        ("extent_no_overlap", f"EXISTS ({OVERLAPS})"),
        ("extent_within_disk", BEYOND),
    )
    for verb, event in (
        ("insert", "INSERT"),
        ("update", "UPDATE OF disk_id, offset_gb, size_gb"),
    )
] + [
    """CREATE TRIGGER idspace_never_falls BEFORE UPDATE OF next_id ON inventory_idspace
       WHEN NEW.next_id < OLD.next_id BEGIN SELECT RAISE(ABORT, 'idspace_never_falls'); END"""
]
SQLITE_REVERSE = [
    f"DROP TRIGGER {name}"
    for name in (
        "idspace_never_falls",
        "extent_within_disk_update",
        "extent_within_disk_insert",
        "extent_no_overlap_update",
        "extent_no_overlap_insert",
    )
]


def _run(schema_editor: BaseDatabaseSchemaEditor, statements: dict[str, Sequence[str]]) -> None:
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def guard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the constraint or the triggers, whichever this database knows."""
    _run(schema_editor, {"postgresql": POSTGRESQL, "sqlite": SQLITE})


def unguard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drop them again."""
    _run(schema_editor, {"postgresql": POSTGRESQL_REVERSE, "sqlite": SQLITE_REVERSE})


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]

    operations = [migrations.RunPython(guard, unguard)]
