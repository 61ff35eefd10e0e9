"""The cluster's clock: it passes while the manager lives, whatever the machines' clocks are set to.

One row tells the time. Workers move it on once a second by what time.monotonic() says, by compare
and set; everyone else reads it, and goes by their own monotonic clock for a second or two. While
the manager is down it stands still: nobody's time runs out, and no silence is counted, while
nobody could have asked. docs/adr/0011-time.md tells why.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from inventory.models import Clock

LOOK = 1.0
"""Seconds for which a process goes by its own clock before it looks at the row again."""
LEASH = 2.5
"""Seconds by which a process may be ahead of the row: one that nobody moves stands still."""
LONGEST = 2.5
"""Seconds that the row moves at once: a worker that was stopped for an hour saw nothing pass."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The row as this process saw it change last, at `seen`, and by how much we were ahead then."""

    at: datetime
    beat: int
    seen: float
    looked: float
    ahead: float = 0.0

    def time(self, moment: float) -> datetime:
        return self.at + timedelta(seconds=min(self.ahead + moment - self.seen, LEASH))


_reading: _Reading | None = None
_looking = threading.Lock()


def now() -> datetime:
    """Tell the cluster's time; it never goes back, and mostly costs nothing."""
    reading, moment = _reading, time.monotonic()
    if reading is not None and moment - reading.looked < LOOK:
        return reading.time(moment)
    with _looking:
        return _look(moment).time(moment)


def move(stood: float = 0.0) -> None:
    """Move the row on by what passed since we saw it change, if it stood still for so long.

    Never in a transaction: others would wait for its end, and a rollback would turn time back.
    """
    global _reading  # noqa: PLW0603 - one per process
    with _looking:
        moment = time.monotonic()
        seen = _look(moment)
    passed = min(moment - seen.seen, LONGEST)
    if passed <= 0 or passed < stood:
        return
    at = seen.at + timedelta(seconds=passed)
    # Without the lock: who holds the database may be waiting for it in now().
    if Clock.objects.filter(pk=1, beat=seen.beat).update(at=at, beat=seen.beat + 1):
        with _looking:
            _reading = _Reading(at, seen.beat + 1, moment, moment, _ahead(seen, moment, at))


def on_the_wall(moment: datetime) -> datetime:
    """Translate for people: as long ago by the wall clock as it is by the cluster's."""
    return timezone.now() - (now() - moment)


def _look(moment: float) -> _Reading:
    """Read the row, unless we just did."""
    global _reading  # noqa: PLW0603 - one per process
    before = _reading
    if before is not None and moment - before.looked < LOOK:
        return before
    row = Clock.objects.filter(pk=1).first()
    if row is None:
        row = Clock.objects.get_or_create(pk=1, defaults={"at": timezone.now()})[0]
    if before is not None and before.beat == row.beat and before.at == row.at:
        _reading = _Reading(before.at, before.beat, before.seen, moment, before.ahead)
    else:
        ahead = _ahead(before, moment, row.at) if before is not None else 0.0
        _reading = _Reading(row.at, row.beat, moment, moment, ahead)
    return _reading


def _ahead(before: _Reading, moment: float, at: datetime) -> float:
    """By how much we are ahead of a row that we see only now; 0 if it is another database's."""
    ahead = (before.time(moment) - at).total_seconds()
    return ahead if 0 < ahead <= LEASH else 0.0
