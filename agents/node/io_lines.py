"""What an engine counted of a volume or a disk, as the manager is told it."""

from agents.engines.base import OperationFigures
from agents.io_figures import IoFigures, write_line

NOTHING = (0, 0, 0, 0)


def line(number: int, operations: tuple[OperationFigures, ...]) -> str:
    """Tell of its reads and writes."""
    told = {one.operation: _counts(one) for one in operations}
    return write_line(
        IoFigures(number, *told.get("read", NOTHING), *told.get("write", NOTHING)),
    )


def _counts(one: OperationFigures) -> tuple[int, int, int, int]:
    return one.requests, one.bytes, sum(one.counts), round(one.seconds * 1e6)
