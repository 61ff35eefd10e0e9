"""What if a server, disk, rack or site died now: what would be lost, cut off, or built anew."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import F, Q
from django.db.models.lookups import In

from inventory.models import Disk, HeadServer, StorageServer
from volumes.models import Attachment, Replica
from volumes.placement.policy import Room
from volumes.repair import relocation
from volumes.reports import protection

Volume = tuple[int, str]
"""Id and name."""


@dataclass(frozen=True, slots=True)
class FailureDomain:
    """A rack of a site, or with no rack named, a whole site."""

    site: str
    rack: str | None = None

    def __str__(self) -> str:
        if self.rack is None:
            return f"site {self.site or 'no name'}"
        return f"rack {self.rack or 'no name'} of {self.site or 'no name'}"


@dataclass(frozen=True, slots=True)
class Loss:
    """What a death would do; `stuck` of the `replicas` would find no other place, for `reason`.

    `volumes` have replicas there; `degraded` of them would stay without all of theirs. `lost` are
    those of which some part is nowhere else, `cut_off` those in use on a head.
    """

    replicas: int = 0
    gb: int = 0
    volumes: int = 0
    stuck: int = 0
    degraded: int = 0
    reason: str = ""
    lost: tuple[Volume, ...] = ()
    cut_off: tuple[Volume, ...] = ()


def foresee(place: HeadServer | StorageServer | Disk | FailureDomain) -> Loss:
    """Tell what the death of this place would do, without changing anything."""
    if isinstance(place, HeadServer):
        attached = Attachment.objects.filter(head=place).order_by("volume")
        return Loss(cut_off=tuple(attached.values_list("volume", "volume__name")))
    there, is_left = _scope(place)
    plan = relocation.plan(Replica.objects.filter(there), is_left)
    return Loss(
        replicas=plan.replicas,
        gb=plan.gb,
        volumes=plan.volumes,
        stuck=plan.stuck,
        degraded=plan.stuck_volumes,
        reason=plan.reason,
        lost=tuple(protection.only_there(there, is_large=isinstance(place, FailureDomain))),
    )


def _scope(place: StorageServer | Disk | FailureDomain) -> tuple[Q, Callable[[Room], bool]]:
    """Choose the replicas that are there, and its disks."""
    if isinstance(place, Disk):
        return Q(extent__disk=place), lambda room: room.disk == place.pk
    if isinstance(place, StorageServer):
        return Q(server=place), lambda room: room.server == place.pk
    servers = StorageServer.objects.filter(site=place.site)
    if place.rack is not None:
        servers = servers.filter(rack=place.rack)
    numbers = set(servers.values_list("pk", flat=True))
    # An expression, so that no index of servers is used: a large share of all replicas is read in
    # the order of their mirrors twice as fast.
    there = Q(In(F("server_id") + 0, numbers))
    return there, lambda room: room.server in numbers
