"""Figures of volumes of the kernel engine, read from what Linux counts."""

import os

from agents.engines.kernel import disk_counts
from agents.io_figures import read_line
from agents.node import io_lines

COUNTS = """\
 253       0 vda 2079 0 131646 1105 0 0 0 0 0 1204 1105 0 0 0 0 0 0
 254       3 dm-3 25 0 200 12 8 0 1024 36 0 44 48 2 0 4096 6 0 0
   9     127 md_vas00000017 1 0 8 0 8 0 1024 0 0 0 0
 254       4 dm-4 7 0 56 2 0 0 0 0 0 2 2
"""  # the last one is an older kernel's


def test_a_volume_tells_how_much_was_read_and_written_and_how_long_that_took() -> None:
    volumes = [(17, os.makedev(254, 3)), (18, os.makedev(254, 4)), (19, os.makedev(254, 9))]

    told = {one.lvolid: one for one in disk_counts.figures(COUNTS, volumes)}

    assert [one.operation for one in told[17].operations] == ["read", "write", "discard"]
    assert read_line(io_lines.line(17, told[17].operations)) == (
        *(17, 25, 200 * 512, 25, 12_000),
        *(8, 1024 * 512, 8, 36_000),
    )
    assert [one.operation for one in told[18].operations] == ["read", "write"]
    assert told[19].operations == (), "it is just going"
