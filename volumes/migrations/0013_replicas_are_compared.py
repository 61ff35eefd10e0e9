"""The replicas of mirrors are compared; what differs is kept until it is equal again."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def take_over(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody ever compared the replicas: they were equal when their volume was made."""
    mirrors = apps.get_model("volumes", "Mirror").objects
    volumes = apps.get_model("volumes", "LogicalVolume").objects
    made = volumes.filter(pk=models.OuterRef("volume")).values("created")
    mirrors.update(scrubbed=models.Subquery(made))


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0009_scrubs_may_rest"),
        ("volumes", "0012_jobs_tell_when_they_got_on"),
    ]

    operations = [
        migrations.CreateModel(
            name="BlockContent",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("dextid", models.IntegerField(help_text="the replica")),
                (
                    "server_id",
                    models.IntegerField(help_text="the storage server that it was on; may be gone"),
                ),
                (
                    "digest",
                    models.CharField(
                        blank=True,
                        help_text="empty: zeros; or that the disk cannot read it",
                        max_length=32,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="UnequalBlock",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "offset_mib",
                    models.IntegerField(help_text="the chunk of the mirror in which they are"),
                ),
                (
                    "first",
                    models.PositiveSmallIntegerField(
                        help_text="which block of 4 KiB in it is the first"
                    ),
                ),
                ("count", models.PositiveSmallIntegerField(help_text="how many blocks of 4 KiB")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "differs"),
                            ("mended", "Mended"),
                            ("gone", "overwritten since"),
                            ("dismissed", "Dismissed"),
                        ],
                        default="open",
                        max_length=9,
                    ),
                ),
                (
                    "source",
                    models.IntegerField(
                        blank=True, help_text="the dextid whose content somebody chose", null=True
                    ),
                ),
                ("found", models.DateTimeField(auto_now_add=True)),
                ("ended", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="mirror",
            name="scrub_mib",
            field=models.IntegerField(default=0, help_text="where the comparing goes on"),
        ),
        migrations.AddField(
            model_name="mirror",
            name="scrub_tried",
            field=models.DateTimeField(
                blank=True, help_text="when comparing them was last put off", null=True
            ),
        ),
        migrations.AddField(
            model_name="mirror",
            name="scrubbed",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="when its replicas were last compared to the end, or made",
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="extent",
            field=models.ForeignKey(
                blank=True,
                help_text="being shredded, the replica being built, or one that differs",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="jobs",
                to="inventory.extent",
            ),
        ),
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
                ],
                max_length=11,
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="mirror",
            field=models.ForeignKey(
                blank=True,
                help_text="of a rebuild, scrub or mend",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="jobs",
                to="volumes.mirror",
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="paused",
            field=models.BooleanField(
                default=False, help_text="an evacuation or a scrub that rests"
            ),
        ),
        migrations.AddIndex(
            model_name="mirror",
            index=models.Index(models.F("scrubbed"), name="mirror_scrubbed"),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                models.F("mirror"),
                condition=models.Q(("kind", "scrub"), ("state", "open")),
                name="job_one_scrub_per_mirror",
            ),
        ),
        migrations.AddField(
            model_name="unequalblock",
            name="job",
            field=models.OneToOneField(
                blank=True,
                help_text="what mends it",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="unequal_block",
                to="volumes.job",
            ),
        ),
        migrations.AddField(
            model_name="unequalblock",
            name="mirror",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="unequal_blocks",
                to="volumes.mirror",
            ),
        ),
        migrations.AddField(
            model_name="blockcontent",
            name="block",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="contents",
                to="volumes.unequalblock",
            ),
        ),
        migrations.AddConstraint(
            model_name="unequalblock",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "mended", "gone", "dismissed"])),
                name="unequal_block_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="unequalblock",
            constraint=models.CheckConstraint(
                condition=models.Q(("state", "open"), ("ended__isnull", False), _connector="XOR"),
                name="unequal_block_open_or_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="unequalblock",
            constraint=models.CheckConstraint(
                condition=models.Q(("count__gte", 1), ("first__lte", 255), ("offset_mib__gte", 0)),
                name="unequal_block_in_its_chunk",
            ),
        ),
        migrations.AddConstraint(
            model_name="unequalblock",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")),
                fields=("mirror", "offset_mib", "first"),
                name="unequal_block_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="blockcontent",
            constraint=models.UniqueConstraint(
                models.F("block"), models.F("dextid"), name="block_content_once_per_replica"
            ),
        ),
        migrations.RunPython(take_over, migrations.RunPython.noop),
    ]
