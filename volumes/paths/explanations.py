"""Pure: what explains the paths that are not well, as few causes as possible, in a fixed order."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from inventory.models import PathTrouble

Level, Scope = PathTrouble.Level, PathTrouble.Scope
Grid = Mapping[tuple[int, int], PathTrouble.Level]
"""What is known of the paths of one network, by head and storage server."""

NAMED = 3
"""Where more servers or single paths of a network than this are not well, they are told as one."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A network, one server's way to it, several of its paths, or one of them.

    Of a server or a path the ends are named; 0 elsewhere.
    """

    scope: PathTrouble.Scope
    position: int
    head: int = 0
    storage: int = 0

    @property
    def key(self) -> str:
        """Name it; a problem has the same name, and the page of paths reads it."""
        if self.scope == Scope.NETWORK:
            return f"network-{self.position}"
        ends = f"-headserver-{self.head}" if self.head else ""
        ends += f"-storageserver-{self.storage}" if self.storage else ""
        return f"paths-{self.position}{ends}"

    def has(self, head: int, storage: int) -> bool:
        """Tell whether a path of its network belongs to it."""
        return self.head in {0, head} and self.storage in {0, storage}

    def explains(self, other: "Cause") -> bool:
        """Tell whether the other is a part of this one."""
        if other == self or self.position != other.position:
            return False
        if self.scope == Scope.SEVERAL:
            return other.scope == Scope.PATH
        return self.has(other.head, other.storage)


def cause_of(row: PathTrouble) -> Cause:
    """Read a row's cause."""
    return Cause(Scope(row.scope), row.position, row.head_id or 0, row.storage_id or 0)


def find(position: int, grid: Grid) -> list[Cause]:
    """Find what explains all paths of a network that are not well; what is down comes first."""
    found: list[Cause] = []
    for level in (Level.DOWN, Level.SLOW):
        left = {
            path
            for path, one in grid.items()
            if one == level and not any(cause.has(*path) for cause in found)
        }
        if left:
            found += _explain(position, grid, level, left)
    return found


def level_of(cause: Cause, grid: Grid) -> PathTrouble.Level | None:
    """Tell how it is with a cause: as well as the best of its paths; None: nobody knows."""
    levels = sorted(_levels(cause, grid))
    if not levels:
        return None
    if cause.scope == Scope.SEVERAL:
        # So many are at least as bad, whatever else explains some of them by now.
        return levels[-NAMED - 1] if len(levels) > NAMED else Level.OK
    return levels[0]


def count(cause: Cause, grid: Grid) -> int:
    """Count its paths that are not well."""
    return sum(level != Level.OK for level in _levels(cause, grid))


def _levels(cause: Cause, grid: Grid) -> Iterator[PathTrouble.Level]:
    return (level for path, level in grid.items() if cause.has(*path))


def _explain(
    position: int, grid: Grid, level: PathTrouble.Level, left: set[tuple[int, int]]
) -> list[Cause]:
    """Explain the paths that are left by what is so bad throughout."""
    by_head, by_storage = _ends(grid, level)
    if len(by_head) > 1 and len(by_storage) > 1 and all(by_head.values()):
        return [Cause(Scope.NETWORK, position)]
    several = len(by_storage) > 1
    found = [
        Cause(Scope.HEAD, position, head=head)
        for head in _sorted(head for head, _ in left)
        if several and by_head[head]
    ]
    left = _without(left, found)
    found += [
        Cause(Scope.STORAGE, position, storage=storage)
        for storage in _sorted(storage for _, storage in left)
        if by_storage[storage]
    ]
    left = _without(left, found)
    several_paths = Cause(Scope.SEVERAL, position)
    if len(found) > NAMED:
        return [several_paths]
    if len(left) > NAMED:
        return [*found, several_paths]
    return [*found, *(Cause(Scope.PATH, position, *path) for path in sorted(left))]


def _ends(grid: Grid, level: PathTrouble.Level) -> tuple[dict[int, bool], dict[int, bool]]:
    """Tell of each head and of each storage server whether all of its paths are so bad."""
    by_head: dict[int, bool] = defaultdict(lambda: True)
    by_storage: dict[int, bool] = defaultdict(lambda: True)
    for (head, storage), one in grid.items():
        by_head[head] &= one >= level
        by_storage[storage] &= one >= level
    return by_head, by_storage


def _without(paths: set[tuple[int, int]], causes: Iterable[Cause]) -> set[tuple[int, int]]:
    known = list(causes)
    return {path for path in paths if not any(cause.has(*path) for cause in known)}


def _sorted(numbers: Iterable[int]) -> list[int]:
    return sorted(set(numbers))
