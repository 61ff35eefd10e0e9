"""A job tells by the cluster's clock when it was asked for; `created` is for people."""

import django.utils.timezone
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def take_over(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Until now there was only one clock."""
    apps.get_model("volumes", "Job").objects.update(since=models.F("created"))


class Migration(migrations.Migration):
    dependencies = [
        ("volumes", "0010_job_steps_are_columns"),
        ("inventory", "0007_the_clusters_clock"),
    ]

    operations = [
        migrations.AddField(
            "job",
            "since",
            models.DateTimeField(
                default=django.utils.timezone.now, help_text="when it was asked for"
            ),
        ),
        migrations.RunPython(take_over, migrations.RunPython.noop),
        # Nothing changes in the database; SQLite would rebuild the tables and lose their triggers.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    "replica",
                    "since",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="of the present status"
                    ),
                ),
                migrations.AlterField(
                    "attachment", "since", models.DateTimeField(default=django.utils.timezone.now)
                ),
            ]
        ),
    ]
