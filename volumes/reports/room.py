"""The room there is as an operator means it: how much in how many replicas, and after a loss."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inventory import recovery
from inventory.models import StorageServer
from volumes.lifecycle.volumes import CAPACITY_GB
from volumes.placement import allocation, forecast
from volumes.placement.policy import Room
from volumes.reports import loss, silence
from volumes.reports.loss import Loss

REPLICAS = (2, 3)
"""The redundancies for which room is told; nearly every volume has one of them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What could be created now in so many replicas: in all, and as one volume."""

    replicas: int
    total_gb: int
    largest_gb: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """The room of now, and what the loss of the fullest server would do.

    `in_recovery` says that nothing is created before recovery mode ends, whatever room there is;
    `silent_gb` is what of the room is on servers that do not answer now.
    """

    in_recovery: bool
    silent_gb: int
    fits: list[Fit]
    fullest: StorageServer | None
    loss: Loss


def outlook() -> Outlook:
    """Tell how much can be created, and whether the cluster stands the loss of a server."""
    rooms = allocation.rooms()
    fullest = StorageServer.objects.filter(pk=_fullest(rooms)).first()
    return Outlook(
        bool(recovery.why()),
        _silent_gb(rooms),
        fits(rooms, REPLICAS),
        fullest,
        loss.foresee(fullest) if fullest else Loss(),
    )


def fits(rooms: Sequence[Room], redundancies: Iterable[int], *, tags: str = "") -> list[Fit]:
    """Tell for each redundancy how much could be created now, on disks with these tags."""
    wanted = frozenset(tags.split())
    able = [room for room in rooms if room.tags >= wanted]
    return [
        Fit(
            replicas,
            forecast.total_gb(able, replicas),
            forecast.largest_gb(able, replicas, tags=wanted, most_gb=CAPACITY_GB[-1]),
        )
        for replicas in redundancies
    ]


def _silent_gb(rooms: Iterable[Room]) -> int:
    silent = set(StorageServer.objects.filter(silence.of_usable()).values_list("pk", flat=True))
    return sum(sum(room.free_gb) for room in rooms if room.usable and room.server in silent)


def _fullest(rooms: Iterable[Room]) -> int:
    """Find the server in use whose loss would leave the most to be built anew; 0: there is none."""
    used_gb: Counter[int] = Counter()
    for room in rooms:
        if room.usable:
            used_gb[room.server] += room.capacity_gb - sum(room.free_gb)
    return min(used_gb, key=lambda server: (-used_gb[server], server), default=0)
