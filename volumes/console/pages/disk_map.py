"""The map of a disk, to scale: each row is as many GB, each extent as wide as it is large."""

from collections.abc import Sequence
from dataclasses import dataclass

from volumes.console.frame.pills import Pill

MOST_ROWS = 24
STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Cell:
    """An extent on the map; `volume_id` is 0 where it holds no replica."""

    id: int
    offset_gb: int
    size_gb: int
    kind: str
    pill: Pill
    replica: Pill | None
    volume_id: int
    volume: str


@dataclass(frozen=True, slots=True)
class RowShare:
    """The share of an extent that lies in one row; the first of them speaks for the extent."""

    cell: Cell
    percent: float
    is_first: bool


@dataclass(frozen=True, slots=True)
class MapRow:
    """As many GB as every other row, from an offset on."""

    offset_gb: int
    pieces: list[RowShare]


def lay_out(cells: Sequence[Cell]) -> list[MapRow]:
    """Lay extents that follow each other into rows."""
    if not cells:
        return []
    begin = cells[0].offset_gb
    row_gb = row_size(cells[-1].offset_gb + cells[-1].size_gb - begin)
    rows: list[MapRow] = []
    for cell in cells:
        at, end = cell.offset_gb, cell.offset_gb + cell.size_gb
        while at < end:
            row = (at - begin) // row_gb
            while len(rows) <= row:
                rows.append(MapRow(begin + len(rows) * row_gb, []))
            until = min(end, begin + (row + 1) * row_gb)
            share = round(100 * (until - at) / row_gb, 4)
            rows[row].pieces.append(RowShare(cell, share, at == cell.offset_gb))
            at = until
    return rows


def row_size(total_gb: int) -> int:
    """Choose a round number of GB for a row, so that there are not too many of them."""
    power = 1
    while True:
        for step in STEPS:
            if step * power * MOST_ROWS >= total_gb:
                return step * power
        power *= 10
