"""One change at a time: the lock that every change of several rows takes first."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from inventory import ids


@contextmanager
def write_lock() -> Iterator[None]:
    """Hold a transaction that no other change overlaps; also a decorator.

    SQLite has one writer anyhow. On PostgreSQL changes that lock the same rows in different orders
    would deadlock, and what was read before a lock could be stale: so each takes the lock of the
    "volume" id space first. Changes take milliseconds and never wait for a node, so a queue of them
    is short; reads and the steps' own bookkeeping do not wait.
    """
    with transaction.atomic():
        ids.lock("volume")
        yield
