"""Recovery mode: the database knows less than the nodes do, and nothing that could harm is done.

What runs goes on. Nothing is torn down, evicted, shredded, allocated, attached or deleted until
`manage.py recover` has taken up what the nodes know.
"""

import logging
from collections.abc import Collection, Sequence

from django.db import connection, transaction
from django.utils import timezone

from inventory import audit, ids
from inventory.command_line import manage
from inventory.errors import TryAgain
from inventory.models import Cluster, IdGap, RecoveryReason

logger = logging.getLogger(__name__)

WHY = "SELECT recovery FROM inventory_cluster WHERE id = 1"
LONGEST = 500
ROOM = 1 << 20
"""Numbers that are left out after a restore: those of some 150,000 volumes, 2,000 times over."""
MOST = 100
"""Reasons that are noted; who reads a hundred needs no more."""


def why() -> str:
    """Tell why the cluster is in recovery mode; "" while it is not."""
    with connection.cursor() as cursor:  # every change asks: an eighth of the time of a queryset
        cursor.execute(WHY)
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def refuse(what: str) -> None:
    """Refuse what could harm while the cluster is in recovery mode."""
    if reason := why():
        raise TryAgain(
            f"{what} has to wait: the cluster is in recovery mode, for {reason};"
            f" {manage('recover')} shows what is to be done"
        )


def reasons() -> list[str]:
    """Tell all that was noticed, in its order."""
    return list(RecoveryReason.objects.order_by("pk").values_list("text", flat=True))


def enter(*noticed: str) -> bool:
    """Begin recovery mode; False where it is on already, and then what is new is noted beside."""
    texts = [reason[:LONGEST] for reason in noticed]
    if why() and not _news(texts):
        return False
    with transaction.atomic():
        ids.lock("volume")
        begun = Cluster.objects.filter(pk=1, recovery="").update(
            recovery=texts[0], recovery_since=timezone.now()
        )
        if begun:
            audit.record(audit.Action.BEGIN_RECOVERY, "cluster", texts[0])
        RecoveryReason.objects.bulk_create(RecoveryReason(text=text) for text in _news(texts))
    if begun:
        logger.error("recovery mode: %s", "; ".join(texts))
    return bool(begun)


def _news(texts: Sequence[str]) -> list[str]:
    """Pick what was not noticed before, as long as there is room."""
    known = reasons()
    return [text for text in dict.fromkeys(texts) if text not in known][: MOST - len(known)]


@transaction.atomic
def leave() -> bool:
    """End recovery mode; False where it is not on."""
    on = Cluster.objects.filter(pk=1).exclude(recovery="")
    ended = on.update(recovery="", recovery_since=None)
    RecoveryReason.objects.all().delete()
    if ended:
        audit.record(audit.Action.END_RECOVERY, "cluster")
    return bool(ended)


def skip_to(space: str, next_id: int) -> None:
    """Give out no number below this one any more; who gave out those between, nobody here knows.

    In a transaction.
    """
    ids.lock(space)
    now = ids.next_of(space)
    if next_id > now:
        IdGap.objects.create(space_id=space, first=now, beyond=next_id)
        ids.take(space, next_id - now)


def leave_room(space: str) -> None:
    """Give out no number for a while that this database may have given out after its backup.

    What registers before the nodes were asked takes numbers; those of volumes that only the nodes
    know would then name something else, and seem to be over. In a transaction.
    """
    now = ids.next_of(space)
    if now + ROOM < ids.LAST:
        skip_to(space, now + ROOM)


def count_as_ours(space: str, numbers: Collection[int]) -> None:
    """Count skipped numbers as given out here: what bears them was taken up, or is to go.

    Once that is deleted, what a node still holds of it is over. In a transaction.
    """
    if not numbers:
        return
    ids.lock(space)
    met = IdGap.objects.filter(space=space, first__lte=max(numbers), beyond__gt=min(numbers))
    for gap in met:
        inside = sorted({n for n in numbers if gap.first <= n < gap.beyond})
        if inside:
            gap.delete()
            starts, ends = [gap.first, *(n + 1 for n in inside)], [*inside, gap.beyond]
            IdGap.objects.bulk_create(
                IdGap(space_id=space, first=first, beyond=beyond)
                for first, beyond in zip(starts, ends, strict=True)
                if first < beyond
            )


def gaps(space: str) -> list[range]:
    """Tell the numbers that another life of this database may have given out, in order."""
    rows = IdGap.objects.filter(space=space).order_by("first").values_list("first", "beyond")
    return [range(first, beyond) for first, beyond in rows]
