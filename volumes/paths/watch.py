"""Troubles of paths are noted once they last, and told as events: one for each cause and change.

Of what nobody measures, for a server is silent, out of service or in maintenance, nothing is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inventory import clock, events
from inventory.models import ALIVE, HeadServer, PathTrouble, Server, StorageServer
from inventory.write_lock import write_lock
from volumes.models import Job
from volumes.paths import descriptions, explanations, hysteresis, matrix
from volumes.paths.explanations import Cause, Grid, Level
from volumes.paths.hysteresis import PathMemory

LEVELS = {
    matrix.State.OK: Level.OK,
    matrix.State.SLOW: Level.SLOW,
    matrix.State.DOWN: Level.DOWN,
}
TOLD = {
    Level.OK: (events.Kind.PATH_OK, events.Severity.INFO),
    Level.SLOW: (events.Kind.PATH_SLOW, events.Severity.WARNING),
    Level.DOWN: (events.Kind.PATH_DOWN, events.Severity.WARNING),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of the paths of servers that are in service, by network."""

    grids: tuple[Grid, ...]
    heads: Mapping[int, HeadServer]
    storages: Mapping[int, StorageServer]

    def is_cut_off(self, cause: Cause) -> bool:
        """Tell whether a path of it is down, and no other network is there instead."""
        others = [grid for position, grid in enumerate(self.grids) if position != cause.position]
        return any(
            level == Level.DOWN and all(one.get(path, Level.DOWN) == Level.DOWN for one in others)
            for path, level in self.grids[cause.position].items()
            if cause.has(*path)
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a row; one that is new is not there yet."""

    row: PathTrouble
    before: PathMemory
    after: PathMemory
    now: dict[str, object]
    """What is measured: columns that nothing depends on."""

    def is_any(self) -> bool:
        """Tell whether there is anything to write."""
        same = all(getattr(self.row, name) == value for name, value in self.now.items())
        return self.row._state.adding or self.before != self.after or not same  # noqa: SLF001  Django's documented API


def look() -> None:
    """Ask the heads, and note what changed."""
    measured = _measure()
    rows = PathTrouble.objects.select_related("head", "storage")
    found = {explanations.cause_of(row): row for row in rows}
    for position, grid in enumerate(measured.grids):
        for cause in explanations.find(position, grid):
            if cause not in found:
                found[cause] = _new(cause, measured)
    now = clock.now()
    changes = [_change(cause, row, measured, now) for cause, row in found.items()]
    over = [one for one in changes if one.after.is_over(now, known=bool(one.now["known"]))]
    if over or any(one.is_any() for one in changes):
        with write_lock():
            for change in changes:
                if change in over:
                    PathTrouble.objects.filter(pk=change.row.pk).delete()
                elif (
                    change.is_any() and _write(change) and change.before.level != change.after.level
                ):
                    _tell(change.row)


def _measure() -> Measured:
    asked = matrix.read(ask_older=False)
    left_alone = _in_maintenance()
    heads = {head.pk: head for head in asked.heads if _is_well(head)}
    storages = {
        row.server.pk: row.server
        for row in asked.rows
        if _is_well(row.server) and row.server.pk not in left_alone
    }
    grids: list[dict[tuple[int, int], PathTrouble.Level]] = [{} for _ in range(matrix.NETWORKS)]
    for row in asked.rows:
        for head, ways in zip(asked.heads, row.paths, strict=True):
            if head.pk in heads and row.server.pk in storages:
                for grid, way in zip(grids, ways, strict=True):
                    if way.state in LEVELS:
                        grid[head.pk, row.server.pk] = LEVELS[way.state]
    return Measured(tuple(grids), heads, storages)


def _in_maintenance() -> set[int | None]:
    jobs = Job.objects.filter(kind=Job.Kind.MAINTENANCE, state=Job.State.OPEN)
    return set(jobs.values_list("server", flat=True))


def _is_well(server: Server) -> bool:
    return server.priority in ALIVE and server.silent_since is None


def _new(cause: Cause, measured: Measured) -> PathTrouble:
    return PathTrouble(
        key=cause.key,
        scope=cause.scope,
        position=cause.position,
        head=measured.heads.get(cause.head),
        storage=measured.storages.get(cause.storage),
    )


def _change(cause: Cause, row: PathTrouble, measured: Measured, now: datetime) -> Change:
    grid = measured.grids[cause.position]
    level, before = explanations.level_of(cause, grid), hysteresis.read(row)
    seen: dict[str, object] = {"known": level is not None}
    if level is not None:
        seen |= {"paths": explanations.count(cause, grid), "cut_off": measured.is_cut_off(cause)}
    return Change(row, before, before.next(level, now), seen)


def _write(change: Change) -> bool:
    """Write a row, unless another worker did: whoever does tells of it."""
    row, is_new = change.row, change.row._state.adding  # noqa: SLF001  Django's documented API
    columns = {**hysteresis.columns(change.after), **change.now}
    for name, value in columns.items():
        setattr(row, name, value)
    if not is_new:
        mine = PathTrouble.objects.filter(pk=row.pk, **hysteresis.columns(change.before))
        return bool(mine.update(**columns))
    if PathTrouble.objects.filter(pk=row.pk).exists():
        return False
    row.save(force_insert=True)
    return True


def _tell(row: PathTrouble) -> None:
    about: object = row.storage or row.head or descriptions.network(row.position)
    kind, severity = TOLD[Level(row.level)]
    if row.level == Level.DOWN and row.cut_off:
        severity = events.Severity.ERROR
    events.tell(kind, severity, about, descriptions.said(row))
