"""A broken snapshot has a cause; of those that broke before it is not known."""

from importlib import import_module

from django.db import migrations, models

GUARDS = import_module("volumes.migrations.0007_a_leg_is_a_replica")


class Migration(migrations.Migration):
    dependencies = [("volumes", "0013_replicas_are_compared")]

    operations = [
        # SQLite makes the table anew for a column and a constraint, and its triggers are lost.
        migrations.RunPython(GUARDS.unguard, GUARDS.guard),
        migrations.AddField(
            "logicalvolume",
            "broken_because",
            models.CharField(
                blank=True, default="", help_text="for people: what broke it", max_length=200
            ),
        ),
        migrations.AddConstraint(
            "logicalvolume",
            models.CheckConstraint(
                condition=models.Q(("broken", True), ("broken_because", ""), _connector="OR"),
                name="volume_broken_because",
            ),
        ),
        migrations.RunPython(GUARDS.guard, GUARDS.unguard),
    ]
