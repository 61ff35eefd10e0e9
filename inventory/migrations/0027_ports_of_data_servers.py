from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0026_troubles_of_paths"),
    ]

    operations = [
        migrations.AddField(
            model_name="storageserver",
            name="data_port",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="where its data server does; none: it never said",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="storageserver",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("data_port__isnull", True), ("data_port__range", (1, 65535)), _connector="OR"
                ),
                name="storage_data_port",
            ),
        ),
    ]
