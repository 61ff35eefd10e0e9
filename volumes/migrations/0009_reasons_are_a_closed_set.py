"""Why a replica is out of sync becomes one of nine reasons; what else was written meant failed."""

from importlib import import_module

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

GUARDS = import_module("volumes.migrations.0007_a_leg_is_a_replica")
REASONS = {
    "": "nothing is wrong",
    "connection": "its head lost the connection to it",
    "io": "it answered its head with an I/O error",
    "stale": "it lacks writes that the newest replicas have",
    "asked": "another replica takes its place",
    "silent": "its server or disk does not answer",
    "restarted": "its server was started anew",
    "failed": "it, its disk or its server was declared failed",
    "disk": "its disk failed",
}


def close(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take what a caller of notifyFailure wrote in his own words for a declaration of failure."""
    replicas = apps.get_model("volumes", "Replica").objects
    replicas.exclude(reason__in=REASONS).update(reason="failed")


class Migration(migrations.Migration):
    dependencies = [("volumes", "0008_words_of_the_glossary")]

    operations = [
        # SQLite makes the table anew for a constraint, and its triggers are lost.
        migrations.RunPython(GUARDS.unguard, GUARDS.guard),
        migrations.RenameField("replica", "why", "reason"),
        migrations.AlterField(
            "replica",
            "reason",
            models.CharField(
                blank=True,
                choices=list(REASONS.items()),
                help_text="why it is FAULTY; of the last good one: why its head does not reach it",
                max_length=16,
            ),
        ),
        migrations.RunPython(close, migrations.RunPython.noop),
        migrations.AddConstraint(
            "replica",
            models.CheckConstraint(
                condition=models.Q(reason__in=list(REASONS)), name="replica_reason_known"
            ),
        ),
        migrations.RunPython(GUARDS.guard, GUARDS.unguard),
    ]
