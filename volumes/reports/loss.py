"""What if a server or disk died now: what would be lost, cut off, or built anew, and where not."""

from dataclasses import dataclass

from django.db.models import Q

from inventory.models import Disk, HeadServer, StorageServer
from volumes.models import Attachment
from volumes.repair import drain
from volumes.reports import protection

Volume = tuple[int, str]
"""Id and name."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a death would do; `stuck` of the `replicas` would find no other place, for `reason`.

    `lost` are the volumes of which some part is nowhere else, `cut_off` those in use on a head.
    """

    replicas: int = 0
    gb: int = 0
    stuck: int = 0
    reason: str = ""
    lost: tuple[Volume, ...] = ()
    cut_off: tuple[Volume, ...] = ()


def foresee(place: HeadServer | StorageServer | Disk) -> Loss:
    """Tell what the death of this place would do, without changing anything."""
    if isinstance(place, HeadServer):
        attached = Attachment.objects.filter(head=place).order_by("volume")
        return Loss(cut_off=tuple(attached.values_list("volume", "volume__name")))
    there = Q(extent__disk=place) if isinstance(place, Disk) else Q(server=place)
    plan = drain.plan_evacuation(place)
    return Loss(
        replicas=plan.replicas,
        gb=plan.gb,
        stuck=plan.stuck,
        reason=plan.reason,
        lost=tuple(protection.only_there(there)),
    )
