"""What a dry run says of each server: chosen, a candidate, or which filter refused it; all pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from volumes.placement.policy import Domain, Filter, Placed, Room


@dataclass(frozen=True, slots=True)
class Candidate:
    """Disks of one server that the filters treat alike.

    `refusal` is the first filter that they do not pass, "" if they pass them all; then `pieces` of
    the volume would lie there.
    """

    server: int
    domain: Domain
    refusal: str
    disks: tuple[int, ...]
    free_gb: int
    largest_gb: int
    pieces: int

    @property
    def passed(self) -> bool:
        """Tell whether every filter let them pass."""
        return not self.refusal


def judge(
    rooms: Iterable[Room], filters: Sequence[Filter], placed: Iterable[Placed]
) -> list[Candidate]:
    """Sum up disks by server and by what became of them: chosen first, then candidates."""
    groups: dict[tuple[int, str], list[Room]] = defaultdict(list)
    for room in rooms:
        groups[room.server, _refusal(room, filters)].append(room)
    pieces = Counter(disk for mirror in placed for disk in mirror.disks)
    found = [
        _candidate(server, refusal, there, pieces) for (server, refusal), there in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.pieces, one.refusal, -one.free_gb, one.server))


def _refusal(room: Room, filters: Sequence[Filter]) -> str:
    return next((each.name for each in filters if not each.passes(room)), "")


def _candidate(server: int, refusal: str, there: list[Room], pieces: Counter[int]) -> Candidate:
    return Candidate(
        server,
        there[0].domain,
        refusal,
        tuple(room.disk for room in there),
        sum(sum(room.free_gb) for room in there),
        max((room.free_gb[-1] for room in there if room.free_gb), default=0),
        sum(pieces[room.disk] for room in there),
    )
