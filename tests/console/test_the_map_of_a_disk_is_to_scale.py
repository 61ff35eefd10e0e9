"""On the map of a disk an extent is as wide as it is large, over as many rows as it takes."""

from collections import defaultdict

from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.console.conftest import PART
from volumes.console.frame.pills import IDLE, Pill
from volumes.console.pages.disk_map import MOST_ROWS, Cell, lay_out, row_size

SIZES = st.lists(st.integers(1, 6000), min_size=1, max_size=60)


def _cells(sizes: list[int]) -> list[Cell]:
    free = Pill("free", IDLE)
    offsets = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        Cell(place, at, gb, "free", free, None, 0, "")
        for place, (at, gb) in enumerate(zip(offsets, sizes, strict=True))
    ]


@given(SIZES)
def test_each_extent_is_as_wide_as_it_is_large(sizes: list[int]) -> None:
    rows, row_gb = lay_out(_cells(sizes)), row_size(sum(sizes))

    widths: dict[int, float] = defaultdict(float)
    for piece in (piece for row in rows for piece in row.pieces):
        widths[piece.cell.id] += piece.percent * row_gb / 100

    assert all(abs(widths[place] - gb) < 1 for place, gb in enumerate(sizes))
    assert sum(piece.is_first for row in rows for piece in row.pieces) == len(sizes)


@given(SIZES)
def test_rows_are_full_and_few(sizes: list[int]) -> None:
    rows = lay_out(_cells(sizes))

    assert len(rows) <= MOST_ROWS
    for row in rows[:-1]:
        assert abs(sum(piece.percent for piece in row.pieces) - 100) < 0.1


def test_an_extent_over_several_rows_is_named_to_readers_once(well: None, console: Client) -> None:
    part = console.get("/admin/console/disks/1/map/", headers=PART).content.decode()

    assert part.count("vs-map-row") > 1
    assert part.count("GiB at 0 GiB, replica") == 2  # a tooltip, and what readers hear
