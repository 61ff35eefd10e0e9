"""Single replicas one after the other: whether each finds a place beside those before; pure."""

from collections import Counter
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush, heapreplace

from volumes.placement.policy import Room, RoomyDisk, RoomyServer


class Openings:
    """The free space of now, from which replicas take places one by one.

    A replica finds one just where `policy.place` would find one for it, if none was taken before.
    The emptiest server comes first; failure domains are left out, for they never refuse a place.
    What a heap has of a disk may be of before it was taken from: then it is put right.
    """

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._servers: dict[int, _Opening] = {}
        for room in rooms:
            if room.usable and room.free_gb:
                if room.server not in self._servers:
                    self._servers[room.server] = _Opening(room.server, room.domain)
                self._servers[room.server].add(room)
        self._emptiest = [(-one.free_share, server) for server, one in self._servers.items()]
        heapify(self._emptiest)

    def take(
        self, size_gb: int, tags: frozenset[str], avoid_servers: Collection[int]
    ) -> int | None:
        """Take a place for one replica on the emptiest server that has one; None: none has."""
        emptiest = self._emptiest
        passed: list[tuple[float, int]] = []
        found = None
        while emptiest and found is None:
            _, server = emptiest[0]
            opening = self._servers[server]
            if server not in avoid_servers and opening.take(size_gb, tags):
                found = server
                heapreplace(emptiest, (-opening.free_share, server))
            else:
                passed.append(heappop(emptiest))
        for one in passed:
            heappush(emptiest, one)
        return found


def surely_fit(
    rooms: Iterable[Room], gb: int, largest_gb: int, tags: frozenset[str], avoided: int
) -> bool:
    """Tell whether all replicas with these tags find a place, in whatever order `take` is asked.

    `gb` is the size of all that take places, with other tags as well, `largest_gb` that of the
    largest with these, and none avoids more servers than `avoided`. A replica finds none only once
    on all other servers each free extent is smaller than it; then as much was taken there as is
    counted here. False is no answer: it has to be tried.
    """
    taken_gb: Counter[int] = Counter()
    for room in rooms:
        if room.usable and room.tags >= tags:
            taken_gb[room.server] += sum(max(0, free - largest_gb + 1) for free in room.free_gb)
    return sum(sorted(taken_gb.values(), reverse=True)[avoided:]) >= gb


class _Opening(RoomyServer):
    """A server, and by tags the disks that have them, those with the largest pieces first."""

    def __init__(self, server: int, domain: tuple[str, str]) -> None:
        super().__init__(server, domain)
        self._heaps: dict[frozenset[str], list[tuple[int, int, RoomyDisk]]] = {}

    def take(self, size_gb: int, tags: frozenset[str]) -> bool:
        """Take a piece from the disk with the largest one; False where that is too small."""
        if tags not in self._heaps:
            able = [disk for disk in self.disks if disk.room.tags >= tags]
            self._heaps[tags] = [(-_largest_gb(disk), disk.room.disk, disk) for disk in able]
            heapify(self._heaps[tags])
        heap = self._heaps[tags]
        while heap and -heap[0][0] != (left_gb := _largest_gb(heap[0][2])):
            heapreplace(heap, (-left_gb, heap[0][1], heap[0][2]))
        if not heap or -heap[0][0] < size_gb:
            return False
        heap[0][2].take(size_gb)
        self.free_gb -= size_gb
        return True


def _largest_gb(disk: RoomyDisk) -> int:
    return disk.free[-1] if disk.free else 0
