"""Since when replicas and attachments are as they are is told by the cluster's clock."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("volumes", "0010_job_steps_are_columns"),
        ("inventory", "0007_the_clusters_clock"),
    ]

    operations = [
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
