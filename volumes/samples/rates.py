"""What was asked a second, by two answers of a node: pure."""

from agents.io_figures import IoFigures
from volumes.samples.packing import Io


def between(before: IoFigures, now: IoFigures, seconds: float) -> Io:
    """Measure; what counted less than before was started anew, and counts from nothing."""
    if any(later < earlier for earlier, later in zip(before, now, strict=True)):
        before = IoFigures(now.number)
    reads, writes = now.reads - before.reads, now.writes - before.writes
    return Io(
        reads / seconds,
        writes / seconds,
        (now.read_bytes - before.read_bytes) / seconds,
        (now.write_bytes - before.write_bytes) / seconds,
        _wait(reads, now.reads_timed - before.reads_timed, now.read_us - before.read_us) / seconds,
        _wait(writes, now.writes_timed - before.writes_timed, now.write_us - before.write_us)
        / seconds,
    )


def _wait(requests: int, timed: int, microseconds: int) -> float:
    """For how long all waited together, by those of them that were timed."""
    return requests * microseconds / timed / 1e6 if timed else 0.0
