"""Scrubs may rest: a person said so, for the whole cluster."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0008_servers_that_were_shut_down"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="scrubs_paused",
            field=models.BooleanField(
                default=False, help_text="no replicas are compared until somebody says so"
            ),
        ),
    ]
