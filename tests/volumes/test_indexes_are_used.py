"""What is asked at 20,000 volumes goes by its index: a database may silently not see that it fits.

SQLite takes a partial index only for conditions that it can prove from the words of a query, and a
list of parameters proves nothing to it.
"""

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from inventory.models import NEITHER_USED_NOR_FREE, Extent
from volumes.models import Replica
from volumes.replicas.rows import out_of_sync

pytestmark = pytest.mark.django_db

ASKED: dict[str, QuerySet[Any]] = {
    "replica_needs_repair": Replica.objects.filter(out_of_sync()).values("mirror"),
    "extent_free": Extent.objects.filter(status=Extent.Status.FREE).values("disk"),
    "extent_to_shred": Extent.objects.filter(status=Extent.Status.OFFLINE).values("disk"),
    "extent_neither_used_nor_free": Extent.objects.filter(status__gte=NEITHER_USED_NOR_FREE).values(
        "disk", "size_gb"
    ),
}


@pytest.mark.parametrize("index", ASKED)
def test_rare_rows_are_found_by_their_index(index: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Of an empty table all is read at once, whatever indexes it has.
            cursor.execute("SET LOCAL enable_seqscan = off")

    plan = ASKED[index].order_by().explain()

    assert index in plan


def test_no_index_is_only_the_beginning_of_another() -> None:
    whole = indexes_of_all_rows()

    needless = [
        f"{name} is the beginning of {other}"
        for (table, name), columns in whole.items()
        for (others, other), longer in whole.items()
        if table == others and name != other and longer[: len(columns)] == columns
    ]

    assert len(whole) > 50
    assert needless == []


def indexes_of_all_rows() -> dict[tuple[str, str], list[str]]:
    """Table and name of each index of ours that is not partial -> its columns, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT t.relname, i.relname, a.attname
            FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
            JOIN pg_class t ON t.oid = x.indrelid
            CROSS JOIN unnest(x.indkey::int[]) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
            -- Of each text PostgreSQL has one more, which answers LIKE.
            WHERE x.indpred IS NULL AND NOT x.indisexclusion
                AND i.relname NOT LIKE '%\\_like'
            ORDER BY k.place
            """
            if connection.vendor == "postgresql"
            else """
            SELECT i.tbl_name, i.name, k.name FROM sqlite_master i, pragma_index_info(i.name) k
            WHERE i.type = 'index' AND coalesce(i.sql, '') NOT LIKE '% WHERE %' ORDER BY k.seqno
            """
        )
        found: dict[tuple[str, str], list[str]] = {}
        for table, name, column in cursor.fetchall():
            if table.startswith(("inventory_", "volumes_")):
                found.setdefault((table, name), []).append(column)
    return found
