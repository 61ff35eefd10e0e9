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
        ("inventory", "0028_extents_neither_used_nor_free"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                dropped("inventory_address_head_id_412dccf0", "inventory_address", "head_id"),
                dropped("inventory_address_storage_id_1af7a95f", "inventory_address", "storage_id"),
                dropped("inventory_extent_disk_id_8109e782", "inventory_extent", "disk_id"),
                dropped(
                    "inventory_refuseddisk_server_id_5d9f2c00", "inventory_refuseddisk", "server_id"
                ),
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="address",
                    name="head",
                    field=models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to="inventory.headserver",
                    ),
                ),
                migrations.AlterField(
                    model_name="address",
                    name="storage",
                    field=models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to="inventory.storageserver",
                    ),
                ),
                migrations.AlterField(
                    model_name="extent",
                    name="disk",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="extents",
                        to="inventory.disk",
                    ),
                ),
                migrations.AlterField(
                    model_name="refuseddisk",
                    name="server",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refused_disks",
                        to="inventory.storageserver",
                    ),
                ),
            ],
        ),
    ]
