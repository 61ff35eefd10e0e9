"""Troubles of paths, by cause; PostgreSQL itself deletes them with their servers (see 0023)."""

from importlib import import_module
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

before = import_module("inventory.migrations.0023_rows_that_an_older_manager_does_not_know")

REFERENCES = (("head_id", "inventory_headserver"), ("storage_id", "inventory_storageserver"))


def cascade(_apps: Any, schema_editor: Any) -> None:
    """Let the references delete: an older manager does not know this table."""
    if schema_editor.connection.vendor != "postgresql":
        return
    table = "inventory_pathtrouble"
    for column, target in REFERENCES:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(before.FIND, [table, column])
            (name,) = cursor.fetchone()
        schema_editor.execute(
            f'ALTER TABLE {table} DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}"'
            f" FOREIGN KEY ({column}) REFERENCES {target} ON DELETE CASCADE"
            " DEFERRABLE INITIALLY DEFERRED"
        )


class Migration(migrations.Migration):
    # A statement each: whoever works meanwhile would wait for one table while we wait for another.
    atomic = False

    dependencies = [
        ("inventory", "0025_events_of_paths"),
    ]

    operations = [
        migrations.CreateModel(
            name="PathTrouble",
            fields=[
                ("key", models.CharField(max_length=80, primary_key=True, serialize=False)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("network", "a network"),
                            ("head", "a head's way to one network"),
                            ("storage", "a storage server's way to one network"),
                            ("several", "several paths"),
                            ("path", "one path"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "position",
                    models.PositiveSmallIntegerField(help_text="0 and 1: the two networks"),
                ),
                (
                    "level",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "ok"), (1, "slow"), (2, "down")],
                        default=0,
                        help_text="as it was told",
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(
                        help_text="since when it is so; null: never told", null=True
                    ),
                ),
                (
                    "worse_since",
                    models.DateTimeField(help_text="measured worse than told since", null=True),
                ),
                (
                    "better_since",
                    models.DateTimeField(help_text="measured no worse than told since", null=True),
                ),
                (
                    "relapses",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="how often it came back; it has to be well for longer each time",
                    ),
                ),
                (
                    "known",
                    models.BooleanField(default=True, help_text="whether anybody measures it now"),
                ),
                (
                    "paths",
                    models.PositiveIntegerField(default=0, help_text="how many are not well now"),
                ),
                (
                    "cut_off",
                    models.BooleanField(
                        default=False,
                        help_text="some of them are down by the other network as well",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="pathtrouble",
            name="head",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inventory.headserver",
            ),
        ),
        migrations.AddField(
            model_name="pathtrouble",
            name="storage",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inventory.storageserver",
            ),
        ),
        migrations.AddConstraint(
            model_name="pathtrouble",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("scope__in", ["network", "head", "storage", "several", "path"])
                ),
                name="path_trouble_scope_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="pathtrouble",
            constraint=models.CheckConstraint(
                condition=models.Q(("level__in", [0, 1, 2])), name="path_trouble_level_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="pathtrouble",
            constraint=models.CheckConstraint(
                condition=models.Q(("position__lte", 1)), name="path_trouble_position_0_1"
            ),
        ),
        migrations.RunPython(cascade, migrations.RunPython.noop),
    ]
