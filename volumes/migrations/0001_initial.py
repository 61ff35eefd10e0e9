"""Make the tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("inventory", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="LogicalVolume",
            fields=[
                (
                    "id",
                    models.IntegerField(help_text="the lvolid", primary_key=True, serialize=False),
                ),
                (
                    "node_id",
                    models.IntegerField(help_text="SNAPSHOT-ORIGIN or SNAPSHOT node", unique=True),
                ),
                ("linear_id", models.IntegerField(help_text="LINEAR node", unique=True)),
                ("name", models.CharField(max_length=64, unique=True)),
                ("capacity_gb", models.IntegerField(help_text="what the user asked for and sees")),
                (
                    "store_gb",
                    models.IntegerField(
                        help_text="what each copy occupies: the capacity, or a snapshot's copy-on-write store"
                    ),
                ),
                ("redundancy", models.PositiveSmallIntegerField()),
                (
                    "tags",
                    models.CharField(
                        blank=True,
                        help_text="words that the disks of its copies must have",
                        max_length=256,
                    ),
                ),
                (
                    "epoch",
                    models.IntegerField(
                        default=0,
                        help_text="of a group: rises at every bind and every eviction, for ever",
                    ),
                ),
                (
                    "closed_cleanly",
                    models.BooleanField(
                        default=True,
                        help_text="of a group: the last use ended with all copies equal and recorded",
                    ),
                ),
                (
                    "broken",
                    models.BooleanField(
                        default=False,
                        help_text="of a snapshot: its store lost data; it can only be deleted",
                    ),
                ),
                ("created", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "origin",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="snapshots",
                        to="volumes.logicalvolume",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("binding", "Binding"),
                            ("bound", "Bound"),
                            ("unbinding", "Unbinding"),
                            ("error", "Error"),
                        ],
                        default="binding",
                        max_length=9,
                    ),
                ),
                ("error", models.TextField(blank=True, help_text="why it is in ERROR, for people")),
                ("since", models.DateTimeField(auto_now_add=True)),
                (
                    "head",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attachments",
                        to="inventory.headserver",
                    ),
                ),
                (
                    "volume",
                    models.OneToOneField(
                        help_text="the origin",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attachment",
                        to="volumes.logicalvolume",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Mirror",
            fields=[
                (
                    "id",
                    models.IntegerField(
                        help_text="the mirrorid", primary_key=True, serialize=False
                    ),
                ),
                ("offset_gb", models.IntegerField(help_text="where in the volume it begins")),
                ("size_gb", models.IntegerField()),
                (
                    "volume",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mirrors",
                        to="volumes.logicalvolume",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Leg",
            fields=[
                (
                    "extent",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        serialize=False,
                        to="inventory.extent",
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "Allocated"),
                            (2, "Insync"),
                            (3, "Spare"),
                            (4, "Faulty"),
                            (5, "Needshred"),
                        ],
                        default=1,
                    ),
                ),
                (
                    "events",
                    models.IntegerField(
                        default=0,
                        help_text="the event count that the head recorded on this copy when last told",
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(auto_now_add=True, help_text="of the present status"),
                ),
                (
                    "why",
                    models.CharField(
                        blank=True,
                        help_text="why it is FAULTY: connection, io, disk, server, ...",
                        max_length=16,
                    ),
                ),
                (
                    "server",
                    models.ForeignKey(
                        help_text="the server of its disk",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="legs",
                        to="inventory.storageserver",
                    ),
                ),
                (
                    "mirror",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="legs",
                        to="volumes.mirror",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                (
                    "id",
                    models.IntegerField(help_text="the eventid", primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("attach", "Attach"),
                            ("detach", "Detach"),
                            ("fence", "take away from a dead head"),
                            ("snapshot", "show a snapshot on the head"),
                            ("unsnapshot", "delete a snapshot that the head shows"),
                            ("rebuild", "Rebuild"),
                            ("shred", "Shred"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        help_text="for people; outlives what it names", max_length=160
                    ),
                ),
                (
                    "step",
                    models.CharField(
                        blank=True, help_text="what was last asked of a node", max_length=16
                    ),
                ),
                (
                    "replaces",
                    models.IntegerField(
                        default=0,
                        help_text="of a rebuild: the dextid of the copy whose place is taken",
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(
                        default=0, help_text="failed tries of the present step"
                    ),
                ),
                (
                    "order",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="numbers this job's orders to nodes: a new try is a new order",
                    ),
                ),
                (
                    "urgency",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="lower goes first; of a rebuild: the number of good copies left",
                    ),
                ),
                ("due", models.DateTimeField()),
                ("deadline", models.DateTimeField(blank=True, null=True)),
                (
                    "waiting",
                    models.CharField(blank=True, help_text="what it waits for", max_length=250),
                ),
                ("done_mib", models.BigIntegerField(default=0)),
                ("total_mib", models.BigIntegerField(default=0)),
                ("errno", models.IntegerField(default=0)),
                ("error", models.TextField(blank=True)),
                (
                    "actor",
                    models.CharField(blank=True, help_text="who asked for it", max_length=64),
                ),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("started", models.DateTimeField(blank=True, null=True)),
                ("finished", models.DateTimeField(blank=True, null=True)),
                (
                    "extent",
                    models.ForeignKey(
                        blank=True,
                        help_text="being shredded, or the copy being built",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="jobs",
                        to="inventory.extent",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="volumes.logicalvolume",
                    ),
                ),
                (
                    "volume",
                    models.ForeignKey(
                        blank=True,
                        help_text="the group",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="jobs",
                        to="volumes.logicalvolume",
                    ),
                ),
                (
                    "mirror",
                    models.ForeignKey(
                        blank=True,
                        help_text="of a rebuild",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="jobs",
                        to="volumes.mirror",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("id__gte", 1)), name="volume_id_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("broken", False), ("origin__isnull", False), _connector="OR"),
                name="volume_not_broken",
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("capacity_gb__gte", 1), ("capacity_gb__lte", 1048576)),
                name="volume_capacity",
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("store_gb__gte", 1)), name="volume_store"
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("redundancy__gte", 2), ("redundancy__lte", 9)),
                name="volume_redundancy",
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(("epoch__gte", 0)), name="volume_epoch"
            ),
        ),
        migrations.AddConstraint(
            model_name="logicalvolume",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("origin__isnull", True),
                    models.Q(("origin", models.F("id")), _negated=True),
                    _connector="OR",
                ),
                name="volume_not_its_own_origin",
            ),
        ),
        migrations.AddConstraint(
            model_name="attachment",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["binding", "bound", "unbinding", "error"])),
                name="attachment_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="mirror",
            constraint=models.UniqueConstraint(
                models.F("volume"), models.F("offset_gb"), name="mirror_one_per_offset"
            ),
        ),
        migrations.AddConstraint(
            model_name="mirror",
            constraint=models.CheckConstraint(
                condition=models.Q(("offset_gb__gte", 0), ("size_gb__gte", 1)),
                name="mirror_has_size",
            ),
        ),
        migrations.AddIndex(
            model_name="leg",
            index=models.Index(
                models.F("mirror"),
                condition=models.Q(("status__in", [3, 4])),
                name="leg_needs_repair",
            ),
        ),
        migrations.AddConstraint(
            model_name="leg",
            constraint=models.UniqueConstraint(
                models.F("mirror"), models.F("server"), name="leg_one_copy_per_server"
            ),
        ),
        migrations.AddConstraint(
            model_name="leg",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", range(1, 6))), name="leg_status_known"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                models.F("due"), condition=models.Q(("state", "open")), name="job_due"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["-finished"], name="job_finished"),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "done", "failed", "canceled"])),
                name="job_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "open"), ("finished__isnull", False), _connector="XOR"
                ),
                name="job_open_or_finished",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                models.F("volume"),
                condition=models.Q(
                    ("kind__in", ["attach", "detach", "fence", "snapshot", "unsnapshot"]),
                    ("state", "open"),
                ),
                name="job_one_exclusive_per_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                models.F("mirror"),
                condition=models.Q(("kind", "rebuild"), ("state", "open")),
                name="job_one_rebuild_per_mirror",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                models.F("extent"),
                condition=models.Q(("kind", "shred"), ("state", "open")),
                name="job_one_shred_per_extent",
            ),
        ),
    ]
