from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0029_no_index_twice"),
        ("volumes", "0024_no_index_twice"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "attach",
                            "detach",
                            "fence",
                            "snapshot",
                            "unsnapshot",
                            "rebuild",
                            "shred",
                            "evacuate",
                            "maintenance",
                            "scrub",
                            "mend",
                            "batch",
                        ],
                    )
                ),
                name="job_kind_known",
            ),
        ),
    ]
