"""One state of the database, seen throughout, without keeping writers out."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction

from inventory import clock


@contextmanager
def one_moment() -> Iterator[datetime]:
    """See one state of the database throughout, without keeping writers out."""
    now = clock.now()
    if connection.in_atomic_block:
        yield now
    elif connection.vendor == "sqlite":
        # atomic() would take the write lock here; a plain BEGIN reads one snapshot of the WAL.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield now
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield now
