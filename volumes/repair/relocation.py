"""Replicas that would leave their places: how many find another one, all of them together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Count, Max, QuerySet, Sum

from inventory.errors import NoSpace
from volumes.models import Job, LogicalVolume, Replica
from volumes.placement import allocation, policy
from volumes.placement.openings import Openings, surely_fit
from volumes.placement.policy import Room


@dataclass(frozen=True, slots=True)
class Relocation:
    """What would move, and what of it has no other place to go.

    `volumes` have replicas there; `stuck_volumes` of them would not get back all they had.
    """

    replicas: int
    gb: int
    volumes: int
    stuck: int
    stuck_volumes: int
    reason: str


class _Leaving(NamedTuple):
    mirror: int
    volume: int
    size_gb: int
    tags: str


class _Stuck(NamedTuple):
    replicas: int = 0
    volumes: int = 0
    reason: str = ""


class _Sum(NamedTuple):
    """All replicas that leave, each as its mirror is."""

    replicas: int
    gb: int
    largest_gb: int
    volumes: int


def plan(leaving: QuerySet[Replica], is_left: Callable[[Room], bool]) -> Relocation:
    """Tell what would become of these replicas, largest first, without changing anything.

    `is_left` tells the disks that none of them goes to. `reason` says in numbers why the largest of
    those that are stuck finds no place.
    """
    rooms = [room for room in allocation.rooms() if not is_left(room)]
    total = _sum_up(leaving)
    stuck = _Stuck() if _surely_fit(rooms, total, leaving) else _try(rooms, leaving)
    return Relocation(
        replicas=total.replicas,
        gb=total.gb,
        volumes=total.volumes,
        stuck=stuck.replicas,
        stuck_volumes=stuck.volumes,
        reason=stuck.reason,
    )


def _sum_up(leaving: QuerySet[Replica]) -> _Sum:
    """Count them in the database: there may be a hundred thousand."""
    size = "mirror__size_gb"
    found = leaving.aggregate(
        replicas=Count("*"),
        gb=Sum(size, default=0),
        largest_gb=Max(size, default=0),
        volumes=Count("mirror__volume", distinct=True),
    )
    return _Sum(**found)


def _surely_fit(rooms: list[Room], total: _Sum, leaving: QuerySet[Replica]) -> bool:
    """Tell whether there is so much room that nobody has to try; nearly always there is."""
    if not total.replicas:
        return True
    tagged = LogicalVolume.objects.exclude(tags="")
    texts = leaving.filter(mirror__volume__in=tagged).order_by().values("mirror__volume__tags")
    most = _most_replicas()
    return all(
        surely_fit(rooms, total.gb, total.largest_gb, frozenset(text.split()), most)
        for text in {"", *texts.values_list("mirror__volume__tags", flat=True).distinct()}
    )


def _most_replicas() -> int:
    """Tell the most replicas of any mirror: only where one is being made there are too many."""
    promised: int = LogicalVolume.objects.aggregate(most=Max("redundancy", default=0))["most"]
    rebuilds = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN)
    of_rebuilt = Replica.objects.filter(mirror__in=rebuilds.values("mirror")).order_by()
    counts = of_rebuilt.values("mirror").annotate(count=Count("pk"))
    made: int = counts.aggregate(most=Max("count", default=0))["most"]
    return max(promised, made)


def _try(rooms: list[Room], leaving: QuerySet[Replica]) -> _Stuck:
    """Give each a place, one after the other, and tell which find none."""
    named = leaving.order_by("-extent__size_gb", "pk").values_list(
        "mirror", "mirror__volume", "extent__size_gb", "mirror__volume__tags"
    )
    replicas = list(map(_Leaving._make, named))
    tags = {text: frozenset(text.split()) for text in {one.tags for one in replicas}}
    # Tuples, for a hundred thousand sets would have the garbage collector look at each many times.
    servers_of: dict[int, tuple[int, ...]] = {}
    others = Replica.objects.filter(mirror__in=leaving.order_by().values("mirror"))
    for mirror, server in others.values_list("mirror", "server"):
        servers_of[mirror] = (*servers_of.get(mirror, ()), server)
    openings = Openings(rooms)
    stuck = []
    for one in replicas:
        beside = servers_of.get(one.mirror, ())
        found = openings.take(one.size_gb, tags[one.tags], beside)
        if found is None:
            stuck.append(one)
        else:
            servers_of[one.mirror] = (*beside, found)
    if not stuck:
        return _Stuck()
    reason = _why_stuck(rooms, stuck[0], servers_of.get(stuck[0].mirror, ()))
    return _Stuck(len(stuck), len({one.volume for one in stuck}), reason)


def _why_stuck(rooms: list[Room], one: _Leaving, avoid_servers: tuple[int, ...]) -> str:
    """Say why one finds no place: there is none, or those before it have taken it."""
    try:
        policy.place(
            rooms,
            [one.size_gb],
            1,
            tags=one.tags.split(),
            avoid_servers=avoid_servers,
            divisible=False,
        )
    except NoSpace as refusal:
        return str(refusal)
    return (
        f"{policy.NO_ROOM} for {one.size_gb} GB once the others that leave have taken"
        " what is free elsewhere"
    )
