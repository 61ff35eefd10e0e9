"""What the room of now would hold: by failure domain, and the largest volume; all pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from inventory.errors import NoSpace
from volumes.placement.layout import mirror_sizes
from volumes.placement.policy import Domain, Room, place


@dataclass(frozen=True, slots=True)
class DomainRoom:
    """A failure domain, with GB of its disks: all, and those that can be allocated now."""

    site: str
    rack: str
    servers: int
    disks: int
    capacity_gb: int
    available_gb: int


def domains(rooms: Iterable[Room]) -> list[DomainRoom]:
    """Sum up disks by failure domain, in the order of their names."""
    found: dict[Domain, list[Room]] = defaultdict(list)
    for room in rooms:
        found[room.domain].append(room)
    return [
        DomainRoom(
            site=site,
            rack=rack,
            servers=len({room.server for room in there}),
            disks=len(there),
            capacity_gb=sum(room.capacity_gb for room in there),
            available_gb=sum(sum(room.free_gb) for room in there if room.usable),
        )
        for (site, rack), there in sorted(found.items())
    ]


def largest_gb(
    rooms: Sequence[Room], replicas: int, *, tags: Collection[str] = (), most_gb: int
) -> int:
    """Find the largest volume that would find a place now; 0 if there is room for none.

    Nearly always it is as large as it can be at all, or a little smaller: look from there.
    """
    low, high = 0, min(most_gb, _bound_gb(rooms, replicas, tags))
    step, tried = 1, high
    while low < high:
        if _fits(rooms, tried, replicas, tags):
            low = tried
        else:
            high, step = tried - 1, step * 2
        tried = (low + high + 1) // 2 if low else max(high - step, 1)
    return low


def total_gb(rooms: Iterable[Room], replicas: int) -> int:
    """Tell how much could be kept in so many replicas, however it is cut: a server holds one."""
    free_gb: Counter[int] = Counter()
    for room in rooms:
        if room.usable:
            free_gb[room.server] += sum(room.free_gb)
    left, servers = sum(free_gb.values()), replicas
    # A server with more free than all others could accompany is full of replicas, and some is left.
    for most_gb in sorted(free_gb.values(), reverse=True):
        if servers <= 1 or most_gb * servers <= left:
            break
        left, servers = left - most_gb, servers - 1
    return left // servers


def _bound_gb(rooms: Iterable[Room], replicas: int, tags: Collection[str]) -> int:
    """No volume is larger, however its mirrors lie: each GB of it is on so many servers."""
    fitting = [room for room in rooms if room.usable and room.tags.issuperset(tags)]
    return sum(sum(room.free_gb) for room in fitting) // replicas


def _fits(rooms: Sequence[Room], gb: int, replicas: int, tags: Collection[str]) -> bool:
    try:
        place(rooms, mirror_sizes(gb), replicas, tags=tags)
    except NoSpace:
        return False
    return True
