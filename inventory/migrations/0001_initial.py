"""Make the tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Cluster",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("uuid", models.UUIDField()),
                ("incarnation", models.IntegerField(default=1)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="cluster_is_one_row")
                ],
            },
        ),
        migrations.CreateModel(
            name="HeadServer",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "High"),
                            (2, "Low"),
                            (3, "Evacuate"),
                            (4, "Offline"),
                            (5, "Faulty"),
                            (6, "Halt"),
                        ],
                        default=1,
                    ),
                ),
                (
                    "site",
                    models.CharField(blank=True, help_text="failure domain, widest", max_length=64),
                ),
                (
                    "rack",
                    models.CharField(
                        blank=True, help_text="failure domain within the site", max_length=64
                    ),
                ),
                (
                    "boot_id",
                    models.CharField(
                        blank=True,
                        help_text="changes when what the node ran is gone",
                        max_length=128,
                    ),
                ),
                ("last_answer", models.DateTimeField(blank=True, null=True)),
                (
                    "silent_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="first unanswered question since the last answer",
                        null=True,
                    ),
                ),
                ("priority_since", models.DateTimeField(auto_now_add=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id__gte", 1)), name="head_id_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__in", [1, 2, 3, 4, 5, 6])),
                        name="head_priority_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IdSpace",
            fields=[
                ("name", models.CharField(max_length=8, primary_key=True, serialize=False)),
                ("next_id", models.BigIntegerField(default=1)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("next_id__gte", 1), ("next_id__lte", 2147483648)),
                        name="idspace_31_bits",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StorageServer",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "High"),
                            (2, "Low"),
                            (3, "Evacuate"),
                            (4, "Offline"),
                            (5, "Faulty"),
                            (6, "Halt"),
                        ],
                        default=1,
                    ),
                ),
                (
                    "site",
                    models.CharField(blank=True, help_text="failure domain, widest", max_length=64),
                ),
                (
                    "rack",
                    models.CharField(
                        blank=True, help_text="failure domain within the site", max_length=64
                    ),
                ),
                (
                    "boot_id",
                    models.CharField(
                        blank=True,
                        help_text="changes when what the node ran is gone",
                        max_length=128,
                    ),
                ),
                ("last_answer", models.DateTimeField(blank=True, null=True)),
                (
                    "silent_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="first unanswered question since the last answer",
                        null=True,
                    ),
                ),
                ("priority_since", models.DateTimeField(auto_now_add=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id__gte", 1)), name="storage_id_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__in", [1, 2, 3, 4, 5, 6])),
                        name="storage_priority_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Disk",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("disk_uuid", models.CharField(blank=True, max_length=64)),
                ("local_path", models.CharField(max_length=1024)),
                (
                    "capacity_gb",
                    models.BigIntegerField(help_text="whole GB (2**30 bytes), SUPER included"),
                ),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "High"),
                            (2, "Low"),
                            (3, "Evacuate"),
                            (4, "Offline"),
                            (5, "Faulty"),
                            (6, "Halt"),
                        ],
                        default=1,
                    ),
                ),
                ("priority_since", models.DateTimeField(auto_now_add=True)),
                (
                    "tags",
                    models.CharField(blank=True, help_text="words: ssd, hdd, ...", max_length=256),
                ),
                ("created", models.DateTimeField(auto_now_add=True)),
                (
                    "server",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disks",
                        to="inventory.storageserver",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Address",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("address", models.GenericIPAddressField(protocol="IPv4")),
                (
                    "position",
                    models.PositiveSmallIntegerField(help_text="0 and 1: the two networks"),
                ),
                (
                    "head",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to="inventory.headserver",
                    ),
                ),
                (
                    "storage",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to="inventory.storageserver",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "addresses",
            },
        ),
        migrations.CreateModel(
            name="Extent",
            fields=[
                (
                    "id",
                    models.IntegerField(
                        help_text="the dextid: same id space as volumes",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("offset_gb", models.BigIntegerField()),
                ("size_gb", models.BigIntegerField()),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "Busy"),
                            (2, "Free"),
                            (3, "Evacuate"),
                            (4, "Offline"),
                            (5, "Super"),
                            (6, "Faulty"),
                        ]
                    ),
                ),
                (
                    "generation",
                    models.IntegerField(default=0, help_text="raised at every allocation"),
                ),
                (
                    "zeroed_generation",
                    models.IntegerField(
                        default=-1,
                        help_text="the generation after which the space was certified zero",
                    ),
                ),
                (
                    "disk",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="extents",
                        to="inventory.disk",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("disk"), condition=models.Q(("status", 2)), name="extent_free"
                    ),
                    models.Index(
                        models.F("disk"), condition=models.Q(("status", 4)), name="extent_to_shred"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id__gte", 1)), name="extent_id_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("size_gb__gte", 1), ("offset_gb__gte", 0)),
                        name="extent_has_size",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", range(1, 7))), name="extent_status_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", 2), _negated=True),
                            ("zeroed_generation", models.F("generation")),
                            _connector="OR",
                        ),
                        name="extent_free_is_zeroed",
                    ),
                    models.UniqueConstraint(
                        models.F("disk"), models.F("offset_gb"), name="extent_one_per_offset"
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="disk",
            constraint=models.CheckConstraint(
                condition=models.Q(("id__gte", 1)), name="disk_id_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="disk",
            constraint=models.CheckConstraint(
                condition=models.Q(("capacity_gb__gte", 0)), name="disk_capacity"
            ),
        ),
        migrations.AddConstraint(
            model_name="disk",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__in", [1, 2, 3, 4, 5, 6])), name="disk_priority_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="disk",
            constraint=models.UniqueConstraint(
                models.F("disk_uuid"),
                condition=models.Q(("disk_uuid", ""), _negated=True),
                name="disk_one_uuid",
            ),
        ),
        migrations.AddConstraint(
            model_name="disk",
            constraint=models.UniqueConstraint(
                models.F("local_path"), condition=models.Q(("disk_uuid", "")), name="disk_one_path"
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("head__isnull", True), ("storage__isnull", True), _connector="XOR"
                ),
                name="address_has_one_owner",
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.CheckConstraint(
                condition=models.Q(("position__lte", 1)), name="address_position_0_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.UniqueConstraint(
                models.F("address"), condition=models.Q(("storage", None)), name="address_one_head"
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.UniqueConstraint(
                models.F("address"), condition=models.Q(("head", None)), name="address_one_storage"
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.UniqueConstraint(
                models.F("head"), models.F("position"), name="address_head_position"
            ),
        ),
        migrations.AddConstraint(
            model_name="address",
            constraint=models.UniqueConstraint(
                models.F("storage"), models.F("position"), name="address_storage_position"
            ),
        ),
    ]
