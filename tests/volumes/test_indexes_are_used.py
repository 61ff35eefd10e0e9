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
