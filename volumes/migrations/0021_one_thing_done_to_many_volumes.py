"""One thing is done to many volumes by one job, whose rows tell what became of each."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("volumes", "0020_what_was_measured_over_time"),
    ]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(
                choices=[
                    ("attach", "Attach"),
                    ("detach", "Detach"),
                    ("fence", "fence off a dead head"),
                    ("snapshot", "show a snapshot on the head"),
                    ("unsnapshot", "delete a snapshot that the head shows"),
                    ("rebuild", "Rebuild"),
                    ("shred", "Shred"),
                    ("evacuate", "move all replicas away from a server or disk"),
                    ("maintenance", "leave a server or disk alone for a while"),
                    ("scrub", "compare the replicas of a mirror"),
                    ("mend", "make blocks that differ equal"),
                    ("batch", "do one thing to many volumes"),
                ],
                max_length=11,
            ),
        ),
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="batch",
                        serialize=False,
                        to="volumes.job",
                    ),
                ),
                (
                    "verb",
                    models.CharField(
                        choices=[("attach", "Attach"), ("detach", "Detach"), ("delete", "Delete")],
                        max_length=6,
                    ),
                ),
                ("head", models.IntegerField(default=0, help_text="of an attach: the hsvrid")),
                (
                    "force",
                    models.BooleanField(default=False, help_text="of an attach: as of one volume"),
                ),
            ],
            options={
                "verbose_name_plural": "batches",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("head__gte", 1), ("verb", "attach")),
                            models.Q(("head", 0), ("verb__in", ["detach", "delete"])),
                            _connector="OR",
                        ),
                        name="batch_verb_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BatchRow",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("volume", models.IntegerField(help_text="the lvolid")),
                ("name", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("begun", "under way"),
                            ("done", "Done"),
                            ("refused", "not done"),
                        ],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                (
                    "job",
                    models.IntegerField(
                        blank=True, help_text="the eventid of what it began", null=True
                    ),
                ),
                (
                    "text",
                    models.CharField(blank=True, help_text="why it was not done", max_length=250),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="volumes.batch",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(models.F("batch"), models.F("state"), name="batch_row_by_state")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("batch"), models.F("volume"), name="batch_row_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "begun", "done", "refused"])),
                        name="batch_row_state_known",
                    ),
                ],
            },
        ),
    ]
