"""Pure: what comes and goes is told once, and as well again only when it has been for a while."""

from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timedelta

from inventory.models import PathTrouble

Level = PathTrouble.Level

LASTS = timedelta(seconds=20)
"""So long it is measured before it is told: two measurements of a head at least."""
CALM = timedelta(seconds=60)
"""So long it is well before it is told as well; doubled with each relapse."""
MOST_DOUBLINGS = 6
UNKNOWN = timedelta(days=1)
"""So long it is remembered while nobody measures it."""


@dataclass(frozen=True, slots=True)
class PathMemory:
    """What a row remembers of a cause, as it changes with what is measured."""

    level: PathTrouble.Level = Level.OK
    since: datetime | None = None
    worse_since: datetime | None = None
    better_since: datetime | None = None
    relapses: int = 0

    def next(self, measured: PathTrouble.Level | None, now: datetime) -> "PathMemory":
        """Take note of a measurement; None: nobody knows, and so what was in doubt is forgotten."""
        settled = replace(self, worse_since=None, better_since=None)
        if measured is None or (measured == self.level and self.worse_since is None):
            return settled
        if measured > self.level:
            since = self.worse_since or now
            if now - since < LASTS:
                return replace(self, worse_since=since, better_since=None)
            again = self.level == Level.OK and self.since is not None
            return PathMemory(measured, now, relapses=self.relapses + again)
        since = self.better_since or now
        if now - since < self.calm:
            return replace(self, better_since=since)
        if measured == self.level:
            return settled
        return PathMemory(measured, now, relapses=self.relapses)

    @property
    def calm(self) -> timedelta:
        """Tell for how long it has to be well."""
        return CALM * (1 << min(self.relapses, MOST_DOUBLINGS))

    def is_over(self, now: datetime, *, known: bool) -> bool:
        """Tell whether nothing needs to be remembered any more."""
        if self.worse_since:
            return False
        if self.since is None:
            return True
        if not known:
            return now - self.since > UNKNOWN
        return self.level == Level.OK and now - self.since > 2 * self.calm


NAMES = tuple(field.name for field in fields(PathMemory))


def read(row: PathTrouble) -> PathMemory:
    """Read what a row remembers."""
    return PathMemory(Level(row.level), row.since, row.worse_since, row.better_since, row.relapses)


def columns(memory: PathMemory) -> dict[str, object]:
    """Write it as columns of a row."""
    return dict(zip(NAMES, astuple(memory), strict=True))
