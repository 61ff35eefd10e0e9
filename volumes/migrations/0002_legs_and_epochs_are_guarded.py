"""Hold across tables what a constraint cannot: where copies live, and that epochs never fall.

SQLite loses the triggers of a table that a later migration rebuilds: such a migration drops them
first and makes them anew.
"""

from collections.abc import Sequence

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# 1 and 3: BUSY and EVACUATE, the statuses of space that holds a copy.
MISPLACED = """NOT EXISTS (
    SELECT 1 FROM inventory_extent e JOIN inventory_disk d ON d.id = e.disk_id
    WHERE e.id = NEW.extent_id AND e.status IN (1, 3) AND d.server_id = NEW.server_id)"""
HELD = """NEW.status NOT IN (1, 3)
    AND EXISTS (SELECT 1 FROM volumes_leg WHERE extent_id = NEW.id)"""
FOLLOW = """UPDATE volumes_leg SET server_id = NEW.server_id
    WHERE extent_id IN (SELECT id FROM inventory_extent WHERE disk_id = NEW.id)"""

GUARDS = (
    ("leg_in_busy_space_insert", "BEFORE INSERT ON volumes_leg", MISPLACED),
    ("leg_in_busy_space_update", "BEFORE UPDATE OF extent_id, server_id ON volumes_leg", MISPLACED),
    ("extent_of_leg_is_busy", "BEFORE UPDATE OF status ON inventory_extent", HELD),
    (
        "volume_epoch_never_falls",
        "BEFORE UPDATE OF epoch ON volumes_logicalvolume",
        "NEW.epoch < OLD.epoch",
    ),
)
FOLLOWS = ("leg_follows_disk", "AFTER UPDATE OF server_id ON inventory_disk")

SQLITE = [
    f"CREATE TRIGGER {name} {event} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{name}'); END"
    for name, event, condition in GUARDS
] + [f"CREATE TRIGGER {FOLLOWS[0]} {FOLLOWS[1]} BEGIN {FOLLOW}; END"]

POSTGRESQL = [
    statement
    for name, event, condition in GUARDS
    for statement in (
        f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF {condition} THEN
                RAISE EXCEPTION '{name}' USING ERRCODE = '23514';
              END IF;
              RETURN NEW;
            END $$""",
        f"CREATE TRIGGER {name} {event} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )
] + [
    f"""CREATE FUNCTION {FOLLOWS[0]}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          {FOLLOW};
          RETURN NULL;
        END $$""",
    f"CREATE TRIGGER {FOLLOWS[0]} {FOLLOWS[1]} FOR EACH ROW EXECUTE FUNCTION {FOLLOWS[0]}()",
]

TABLES = {
    name: event.rpartition(" ")[2] for name, event in [*((g[0], g[1]) for g in GUARDS), FOLLOWS]
}
SQLITE_REVERSE = [f"DROP TRIGGER {name}" for name in TABLES]
POSTGRESQL_REVERSE = [
    statement
    for name, table in TABLES.items()
    for statement in (f"DROP TRIGGER {name} ON {table}", f"DROP FUNCTION {name}()")
]


def _run(schema_editor: BaseDatabaseSchemaEditor, statements: dict[str, Sequence[str]]) -> None:
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def guard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the triggers in this database's dialect."""
    _run(schema_editor, {"postgresql": POSTGRESQL, "sqlite": SQLITE})


def unguard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drop them again."""
    _run(schema_editor, {"postgresql": POSTGRESQL_REVERSE, "sqlite": SQLITE_REVERSE})


class Migration(migrations.Migration):
    dependencies = [("volumes", "0001_initial"), ("inventory", "0002_extents_never_overlap")]

    operations = [migrations.RunPython(guard, unguard)]
