"""One word for one thing: a leg is a replica, in the names of tables, indexes and guards too."""

from collections.abc import Iterable
from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

BEFORE = import_module("volumes.migrations.0002_legs_and_epochs_are_guarded")
NAMES = (
    ("volumes_leg", "volumes_replica"),
    ("extent_of_leg_is_busy", "extent_of_replica_is_busy"),
    ("leg_in_busy_space", "replica_in_busy_space"),
    ("leg_follows_disk", "replica_follows_disk"),
)


def _renamed(statements: Iterable[str]) -> list[str]:
    """Say in the new names what is in the old ones."""
    result = list(statements)
    for old, new in NAMES:
        result = [statement.replace(old, new) for statement in result]
    return result


def _run(schema_editor: BaseDatabaseSchemaEditor, statements: dict[str, Iterable[str]]) -> None:
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def guard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the triggers of 0002 on the renamed table."""
    _run(
        schema_editor,
        {"postgresql": _renamed(BEFORE.POSTGRESQL), "sqlite": _renamed(BEFORE.SQLITE)},
    )


def unguard(_apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drop them again."""
    _run(
        schema_editor,
        {
            "postgresql": _renamed(BEFORE.POSTGRESQL_REVERSE),
            "sqlite": _renamed(BEFORE.SQLITE_REVERSE),
        },
    )


class Migration(migrations.Migration):
    dependencies = [
        ("volumes", "0006_volumes_and_copies_by_their_names"),
        ("inventory", "0006_silence_has_a_reason"),
    ]

    operations = [
        migrations.RunPython(BEFORE.unguard, BEFORE.guard),
        migrations.RemoveConstraint("leg", "leg_one_copy_per_server"),
        migrations.RemoveConstraint("leg", "leg_status_known"),
        migrations.RemoveIndex("leg", "leg_needs_repair"),
        migrations.RenameModel("Leg", "Replica"),
        migrations.AlterModelOptions(
            "replica", {"verbose_name": "replica", "verbose_name_plural": "replicas"}
        ),
        migrations.AlterField(
            "replica",
            "mirror",
            models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="replicas",
                to="volumes.mirror",
            ),
        ),
        migrations.AlterField(
            "replica",
            "server",
            models.ForeignKey(
                help_text="the server of its disk",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replicas",
                to="inventory.storageserver",
            ),
        ),
        migrations.AddConstraint(
            "replica",
            models.UniqueConstraint("mirror", "server", name="replica_one_per_server"),
        ),
        migrations.AddConstraint(
            "replica",
            models.CheckConstraint(
                condition=models.Q(status__in=range(1, 6)), name="replica_status_known"
            ),
        ),
        migrations.AddIndex(
            "replica",
            models.Index(
                "mirror", condition=models.Q(status__in=[3, 4]), name="replica_needs_repair"
            ),
        ),
        migrations.RunPython(guard, unguard),
    ]
