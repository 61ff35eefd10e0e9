"""Drops each index that another one of its table begins with: written for nothing.

By SQL, because Django would copy a whole table of SQLite for it, and lose its triggers.
"""

import django.db.models.deletion
from django.db import migrations, models


def dropped(index: str, table: str, column: str) -> migrations.RunSQL:
    """The operation that drops an index, and on the way back makes it again."""
    return migrations.RunSQL(
        f'DROP INDEX IF EXISTS "{index}"', f'CREATE INDEX "{index}" ON "{table}" ("{column}")'
    )


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0029_no_index_twice"),
        ("volumes", "0023_index_of_what_needs_repair"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                dropped("volumes_batchrow_batch_id_ebe2e652", "volumes_batchrow", "batch_id"),
                dropped(
                    "volumes_blockcontent_block_id_a06a3c63", "volumes_blockcontent", "block_id"
                ),
                dropped("volumes_mirror_volume_id_9a39f13d", "volumes_mirror", "volume_id"),
                dropped("volumes_replica_mirror_id_5aed1b59", "volumes_replica", "mirror_id"),
                # What it is called in PostgreSQL, where it kept its name when its table got another.
                migrations.RunSQL(
                    "DROP INDEX IF EXISTS volumes_leg_mirror_id_bc9ebf5d", migrations.RunSQL.noop
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="batchrow",
                    name="batch",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="volumes.batch",
                    ),
                ),
                migrations.AlterField(
                    model_name="blockcontent",
                    name="block",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="contents",
                        to="volumes.unequalblock",
                    ),
                ),
                migrations.AlterField(
                    model_name="mirror",
                    name="volume",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mirrors",
                        to="volumes.logicalvolume",
                    ),
                ),
                migrations.AlterField(
                    model_name="replica",
                    name="mirror",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="replicas",
                        to="volumes.mirror",
                    ),
                ),
            ],
        ),
    ]
