from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0023_rows_that_an_older_manager_does_not_know"),
    ]

    operations = [
        migrations.AddField(
            model_name="storageserver",
            name="iscsi_port",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="where its kernel exports extents; none: it does not",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="storageserver",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("iscsi_port__isnull", True), ("iscsi_port__range", (1, 65535)), _connector="OR"
                ),
                name="storage_iscsi_port",
            ),
        ),
    ]
