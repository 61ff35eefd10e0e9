"""A database that was filled in bulk is emptied within a test."""

from django.db import connection


def empty() -> None:
    """Remove what `fill` recorded, children first."""
    with connection.cursor() as cursor:
        for table in (
            "volumes_jobline",
            "volumes_job",
            "volumes_attachment",
            "volumes_replica",
            "volumes_mirror",
            "volumes_logicalvolume",
            "inventory_extent",
            "inventory_disk",
            "inventory_address",
            "inventory_storageserver",
            "inventory_headserver",
        ):
            order = " WHERE origin_id IS NOT NULL" if table == "volumes_logicalvolume" else ""
            if order:
                cursor.execute(f"DELETE FROM {table}{order}")  # noqa: S608  constants
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608  constants
