"""The cluster gets a clock of its own, and a row that tells which worker looks after the nodes.

The clock begins at the time of day, by which everything that is open now was dated.
"""

import django.utils.timezone
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils import timezone


def begin(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Set the clock."""
    apps.get_model("inventory", "Clock").objects.create(pk=1, at=timezone.now())
    apps.get_model("inventory", "Watch").objects.create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0006_silence_has_a_reason")]

    operations = [
        migrations.CreateModel(
            name="Clock",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("beat", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="clock_is_one_row")
                ],
            },
        ),
        migrations.CreateModel(
            name="Watch",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("holder", models.CharField(blank=True, max_length=16)),
                ("beat", models.BigIntegerField(default=0)),
                (
                    "asked",
                    models.DateTimeField(
                        help_text="until when nodes were asked how they are, by the cluster's clock",
                        null=True,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="watch_is_one_row")
                ],
            },
        ),
        # Nothing changes in the database; SQLite would rebuild the tables.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model,
                    "priority_since",
                    models.DateTimeField(default=django.utils.timezone.now),
                )
                for model in ("headserver", "storageserver", "disk")
            ]
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
