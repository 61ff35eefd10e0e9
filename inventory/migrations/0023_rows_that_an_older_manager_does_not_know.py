"""PostgreSQL itself deletes what hangs on a row, so that an older manager can delete that row.

While managers change their release one after the other, an older one works on the same database. It
does not know these tables, and so would not empty them before it deletes what they refer to. SQLite
serves one manager only, and never two releases: there Django does it, as before.
"""

from typing import Any

from django.db import migrations

REFERENCES = (
    ("inventory_diskhealth", "disk_id", "inventory_disk"),
    ("volumes_shownvolume", "volume_id", "volumes_logicalvolume"),
    ("volumes_batch", "job_id", "volumes_job"),
    ("volumes_batchrow", "batch_id", "volumes_batch"),
)

FIND = """
SELECT key.conname FROM pg_constraint AS key
JOIN pg_attribute AS field ON field.attrelid = key.conrelid AND field.attnum = key.conkey[1]
WHERE key.contype = 'f' AND key.conrelid = %s::regclass AND field.attname = %s
"""


def cascade(_apps: Any, schema_editor: Any) -> None:
    """Let the references delete."""
    _make_anew(schema_editor, "ON DELETE CASCADE")


def restrict(_apps: Any, schema_editor: Any) -> None:
    """Let them be as Django makes them."""
    _make_anew(schema_editor, "")


def _make_anew(schema_editor: Any, on_delete: str) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, column, target in REFERENCES:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(FIND, [table, column])
            (name,) = cursor.fetchone()
        schema_editor.execute(
            f'ALTER TABLE {table} DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}"'
            f" FOREIGN KEY ({column}) REFERENCES {target} {on_delete}"
            " DEFERRABLE INITIALLY DEFERRED"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0021_workers_and_health_of_disks"),
        ("volumes", "0021_one_thing_done_to_many_volumes"),
    ]

    operations = [migrations.RunPython(cascade, restrict)]
