"""Nodes that a recovery went without and that answer again: whether they know more."""

from django.db.models import F, Q

from inventory import recovery, space
from inventory.models import ALIVE
from inventory.write_lock import write_lock
from volumes.models import AbsentNode
from volumes.recovery import compare, quarantine, survey
from volumes.recovery.survey import Survey


def look() -> None:
    """Ask them; one that knows more begins recovery mode, the others are as all nodes again."""
    back = {row.node: row.pk for row in _answering()} if not recovery.why() else {}
    if not back:
        return
    told = survey.take(back)
    if news := [line.removeprefix("nodes: ") for line in compare.unknown(told)]:
        recovery.enter(*(f"{line}: the last recovery went without its node" for line in news))
        return
    _welcome([pk for node, pk in back.items() if node not in told.silent], told)


def _answering() -> list[AbsentNode]:
    storage, head = (
        Q(
            **{
                f"{kind}__priority__in": ALIVE,
                f"{kind}__silent_since": None,
                f"{kind}__last_answer__gt": F("since"),
            }
        )
        for kind in ("storage", "head")
    )
    return list(AbsentNode.objects.filter(storage | head))


@write_lock()
def _welcome(rows: list[int], told: Survey) -> None:
    """Use their disks again once what is free there was zeroed anew."""
    AbsentNode.objects.filter(pk__in=rows).delete()
    for disk in told.disks:
        space.doubt_free(quarantine.disk_of(disk.name), disk.generation)
