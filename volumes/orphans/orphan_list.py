"""What nodes hold that this database does not understand: written down, and never touched."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from inventory import clock
from inventory.write_lock import write_lock
from volumes.models import Orphan

Kind = Orphan.Kind


class FoundOrphan(NamedTuple):
    """One thing on one node, as the node tells it."""

    kind: Kind
    server: int
    lvolid: int
    epoch: int
    dextid: int = 0
    disk: str = ""


def note(kinds: Collection[Kind], asked: Collection[int], found: Mapping[FoundOrphan, int]) -> None:
    """Write down what those nodes that answered hold of these kinds, and how many have it open.

    What is gone is struck off. Mostly nothing has changed since the last round, and then nothing
    is written.
    """
    rows = Orphan.objects.filter(kind__in=kinds, server__in=asked)
    before = {_told(row): row for row in rows}
    gone = [row.pk for told, row in before.items() if told not in found]
    fresh = [told for told in found if told not in before]
    other = [told for told, row in before.items() if found.get(told, row.clients) != row.clients]
    if not (gone or fresh or other):
        return
    with write_lock():
        Orphan.objects.filter(pk__in=gone).delete()
        for told in other:
            Orphan.objects.filter(pk=before[told].pk).update(clients=found[told])
        now = clock.now()
        Orphan.objects.bulk_create(
            (Orphan(**told._asdict(), clients=found[told], since=now) for told in fresh),
            ignore_conflicts=True,
        )


def _told(row: Orphan) -> FoundOrphan:
    return FoundOrphan(Kind(row.kind), row.server, row.lvolid, row.epoch, row.dextid, row.disk)
