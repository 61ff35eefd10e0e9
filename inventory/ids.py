"""The id spaces: numbers that are taken once and never given out again."""

from django.db import connection

from inventory.errors import NoSpace
from inventory.models import IdSpace

LAST = 0x7FFFFFFF
SPACES = ("volume", "head", "storage", "disk", "event")


def take(space: str, count: int = 1) -> range:
    """Take `count` unused numbers; NoSpace at the end of the space.

    Inside a transaction: until it ends nobody else takes from this space on PostgreSQL, and on
    SQLite nobody else writes at all. The lock of "volume" is thereby the allocation lock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_idspace SET next_id = next_id + %s"
            " WHERE name = %s AND next_id + %s <= %s RETURNING next_id",
            [count, space, count, LAST + 1],
        )
        row = cursor.fetchone()
    if row is None:
        raise NoSpace(f"{count} more {space} ids were asked for and the {space} ids have run out")
    return range(row[0] - count, row[0])


def next_of(space: str) -> int:
    """Tell the next number that nobody has."""
    return IdSpace.objects.values_list("next_id", flat=True).get(name=space)


def lock(space: str) -> None:
    """Keep everybody else from this space until the transaction ends.

    "volume" comes before any row of servers, disks, extents, volumes and replicas: who first
    changes such a row and then takes this lock may meet somebody who does it the other way round.
    """
    take(space, 0)
