"""Replicas that would leave their places: how many find another one, all of them together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import QuerySet

from inventory.errors import NoSpace
from volumes.models import Replica
from volumes.placement import allocation, policy
from volumes.placement.openings import Openings
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


def plan(leaving: QuerySet[Replica], is_left: Callable[[Room], bool]) -> Relocation:
    """Tell what would become of these replicas, largest first, without changing anything.

    `is_left` tells the disks that none of them goes to. `reason` says in numbers why the largest of
    those that are stuck finds no place.
    """
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
    rooms = [room for room in allocation.rooms() if not is_left(room)]
    openings = Openings(rooms)
    stuck = []
    for one in replicas:
        beside = servers_of.get(one.mirror, ())
        found = openings.take(one.size_gb, tags[one.tags], beside)
        if found is None:
            stuck.append(one)
        else:
            servers_of[one.mirror] = (*beside, found)
    return Relocation(
        replicas=len(replicas),
        gb=sum(one.size_gb for one in replicas),
        volumes=len({one.volume for one in replicas}),
        stuck=len(stuck),
        stuck_volumes=len({one.volume for one in stuck}),
        reason=_why_stuck(rooms, stuck[0], servers_of.get(stuck[0].mirror, ())) if stuck else "",
    )


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
