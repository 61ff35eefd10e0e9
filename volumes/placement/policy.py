"""Which disks get the replicas of a volume, or why none do: filters, then weighers, all pure."""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from inventory.errors import NoSpace

NO_ROOM = "no room"
"""So every refusal for lack of space begins."""
MOST_PIECES = 8192
"""Beyond so many mirrors free space is too shredded to make one volume of it."""

Domain = tuple[str, str]
"""Site and rack."""


class Room(NamedTuple):
    """One disk as read under the allocation lock; `free_gb` are its free extents, ascending."""

    disk: int
    server: int
    capacity_gb: int
    free_gb: tuple[int, ...]
    domain: Domain = ("", "")
    tags: frozenset[str] = frozenset()
    usable: bool = True
    second_choice: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """One mirror: its size and the disks of its replicas."""

    size_gb: int
    disks: tuple[int, ...]


def place(
    rooms: Iterable[Room],
    sizes: Sequence[int],
    replicas: int,
    *,
    tags: Collection[str] = (),
    avoid_servers: Collection[int] = (),
    beside: Iterable[Domain] = (),
    divisible: bool = True,
) -> list[Placed]:
    """Choose disks on `replicas` different servers for each size, in order; NoSpace says why not.

    `beside` are the domains of replicas that exist already. Where free space is too fragmented for
    a size, a divisible one is halved: a volume then has more mirrors, of the same total.
    """
    found = _Found(rooms, tags, avoid_servers)
    asked_gb = sum(sizes)
    if not found.could_hold(asked_gb, replicas):
        raise NoSpace(found.refusal(asked_gb, replicas))
    pool = _Pool(found.left, Counter(beside))
    placed: list[Placed] = []
    waiting = list(reversed(sizes))
    most_gb = max(sizes, default=0)
    while waiting:
        size_gb = waiting.pop()
        disks = pool.take(size_gb, replicas) if size_gb <= most_gb else ()
        if disks:
            placed.append(Placed(size_gb, disks))
            continue
        # Room only shrinks here: what does not fit now will not fit later.
        most_gb = min(most_gb, (size_gb + 1) // 2)
        if not divisible or size_gb == 1 or len(placed) + len(waiting) >= MOST_PIECES:
            raise NoSpace(found.refusal(asked_gb, replicas))
        waiting += [size_gb // 2, size_gb - size_gb // 2]
    return placed


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule that a disk must pass; the name says what those are that do not."""

    name: str
    passes: Callable[[Room], bool]


def filters(tags: Collection[str], avoid_servers: Collection[int] = ()) -> list[Filter]:
    """List the filters in their order."""
    return [
        Filter("not HIGH or LOW", lambda room: room.usable),
        Filter(f"without the tags {' '.join(tags)}", lambda room: room.tags.issuperset(tags)),
        Filter("on servers that must not be used", lambda room: room.server not in avoid_servers),
        Filter("full or not yet zeroed", lambda room: bool(room.free_gb)),
    ]


class _Found:
    """The disks that pass every filter, and how many each filter removed."""

    def __init__(
        self, rooms: Iterable[Room], tags: Collection[str], avoid_servers: Collection[int]
    ) -> None:
        self.left = list(rooms)
        self.story = [f"of {_count(self.left)}"]
        for each in filters(tags, avoid_servers):
            kept = [room for room in self.left if each.passes(room)]
            if len(kept) < len(self.left):
                disks = len(self.left) - len(kept)
                servers = len(_servers(self.left) - _servers(kept))
                self.story.append(f"{disks} disks ({servers} whole servers) are {each.name}")
            self.left = kept

    def could_hold(self, asked_gb: int, replicas: int) -> bool:
        """Tell at once what can never fit: a server holds one replica at most."""
        free_gb: Counter[int] = Counter()
        for room in self.left:
            free_gb[room.server] += sum(room.free_gb)
        return sum(min(free, asked_gb) for free in free_gb.values()) >= asked_gb * replicas

    def refusal(self, asked_gb: int, replicas: int) -> str:
        """Say in numbers what was asked for and what was found."""
        free_gb = sum(sum(room.free_gb) for room in self.left)
        largest_gb = max((room.free_gb[-1] for room in self.left), default=0)
        return (
            f"{NO_ROOM} for {asked_gb} GiB in {replicas} replicas on separate servers: "
            + ", ".join(self.story)
            + f"; {_count(self.left)} remain with {free_gb} GiB free, {largest_gb} GiB in one piece"
        )


def _servers(rooms: Iterable[Room]) -> set[int]:
    return {room.server for room in rooms}


def _count(rooms: Collection[Room]) -> str:
    return f"{len(rooms)} disks on {len(_servers(rooms))} servers"


@dataclass(slots=True)
class RoomyDisk:
    """A disk while space is taken from it, the smallest free extent that fits first."""

    room: Room
    free: list[int]
    free_gb: int

    def weight(self) -> tuple[bool, float, int]:
        """Order disks: trusted, then emptiest, then oldest."""
        return (self.room.second_choice, -self.free_gb / self.room.capacity_gb, self.room.disk)

    def take(self, size_gb: int) -> None:
        """Cut a piece from the smallest free extent that fits."""
        left_gb = self.free.pop(bisect_left(self.free, size_gb)) - size_gb
        if left_gb:
            insort(self.free, left_gb)
        self.free_gb -= size_gb


@dataclass(slots=True)
class RoomyServer:
    """A server while space is taken from its disks."""

    server: int
    domain: Domain
    capacity_gb: int = 0
    free_gb: int = 0
    disks: list[RoomyDisk] = field(default_factory=list)

    @property
    def free_share(self) -> float:
        """How empty it is."""
        return self.free_gb / self.capacity_gb

    def add(self, room: Room) -> None:
        """Add one of its disks."""
        disk = RoomyDisk(room, list(room.free_gb), sum(room.free_gb))
        self.disks.append(disk)
        self.capacity_gb += room.capacity_gb
        self.free_gb += disk.free_gb

    def best(self, size_gb: int) -> RoomyDisk | None:
        """The disk that would take a piece of this size."""
        fitting = [disk for disk in self.disks if disk.free and disk.free[-1] >= size_gb]
        return min(fitting, key=RoomyDisk.weight, default=None)


Candidate = tuple[bool, float, int, RoomyDisk]
"""Is it second choice, how full is the server, its id, and its best disk."""


class _Pool:
    """Servers in one heap per failure domain, so that a choice looks at the best of each only."""

    def __init__(self, rooms: Iterable[Room], beside: Counter[Domain]) -> None:
        self.servers: dict[int, RoomyServer] = {}
        self.beside = beside
        self.size_gb = 0
        self.heaps: dict[Domain, list[Candidate]] = {}
        for room in rooms:
            server = self.servers.get(room.server)
            if server is None:
                server = self.servers[room.server] = RoomyServer(room.server, room.domain)
            server.add(room)

    def take(self, size_gb: int, replicas: int) -> tuple[int, ...]:
        """Take a piece from the best disk of each of the best servers; () if there are too few."""
        if size_gb != self.size_gb:
            self._weigh_all(size_gb)
        chosen = self._choose(replicas)
        if len(chosen) == replicas:
            for *_, disk in chosen:
                disk.take(size_gb)
                self.servers[disk.room.server].free_gb -= size_gb
        for *_, disk in chosen:
            self._offer(self.servers[disk.room.server])
        return tuple(disk.room.disk for *_, disk in chosen) if len(chosen) == replicas else ()

    def _weigh_all(self, size_gb: int) -> None:
        self.size_gb = size_gb
        self.heaps = defaultdict(list)
        for server in self.servers.values():
            self._offer(server)

    def _offer(self, server: RoomyServer) -> None:
        disk = server.best(self.size_gb)
        if disk is not None:
            candidate = (disk.room.second_choice, -server.free_share, server.server, disk)
            heappush(self.heaps[server.domain], candidate)

    def _choose(self, replicas: int) -> list[Candidate]:
        """Draw candidates from the domains that have the fewest replicas of this mirror so far."""
        in_rack = Counter(self.beside)
        in_site = Counter(site for site, _ in self.beside.elements())
        chosen: list[Candidate] = []
        while len(chosen) < replicas:
            tops = [
                (heap[0][0], in_site[domain[0]], in_rack[domain], heap[0][1], heap[0][2], domain)
                for domain, heap in self.heaps.items()
                if heap
            ]
            if not tops:
                break
            domain = min(tops)[-1]
            chosen.append(heappop(self.heaps[domain]))
            in_rack[domain] += 1
            in_site[domain[0]] += 1
        return chosen
