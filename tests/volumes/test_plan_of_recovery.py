"""What recovery plans from what was told: pure, and in proportion to what there is."""

import time
from dataclasses import replace

from agents.protocol import FoundReplica, ReplicaMark, VolumeAbout
from volumes.recovery import plan
from volumes.recovery.plan import Held, HeldReplica
from volumes.recovery.survey import DiskTold, Survey

BORN = 1764000000
MANY = 8000
LONG = 8.0
"""Seconds that nobody needs who looks at each thing once: some tenths, on a machine at rest."""


def _found(number: int, *, described: bool = True) -> FoundReplica:
    """Make one of many replicas of 2 GB on one disk, each of a volume of its own."""
    if not described:
        return FoundReplica(2 * number, live=True, mark=ReplicaMark(0, 1, 1, clean=True))
    return FoundReplica(
        at_gb=2 * number,
        live=True,
        mark=ReplicaMark(3 * number + 3, 1, 1, clean=True),
        generation=1,
        size_gb=2,
        mirrorid=3 * number + 2,
        offset_gb=0,
        volume=VolumeAbout(3 * number + 1, f"v{number}", 0, 2, 2, 1, BORN),
    )


def _row(number: int) -> HeldReplica:
    return HeldReplica(
        dextid=3 * number + 3,
        volume=3 * number + 1,
        mirror=3 * number + 2,
        born=BORN,
        disk="disk",
        at_gb=2 * number,
        size_gb=2,
        generation=1,
        fresh=False,
    )


def _told(*found: FoundReplica) -> Survey:
    return Survey((DiskTold(1, "disk", 1, 1, found),))


def _rows(count: int) -> Held:
    volumes = range(1, 3 * count + 1, 3)
    names = {f"v{number}": 3 * number + 1 for number in range(count)}
    return Held([_row(n) for n in range(count)], dict.fromkeys(volumes, BORN), names, 3 * count + 1)


NOTHING = Held([], {}, {}, 1)


def test_much_is_planned_in_proportion() -> None:
    described = _told(*(_found(number) for number in range(MANY)))
    older = _told(*(_found(number, described=False) for number in range(MANY)))
    rows = _rows(MANY)
    gapped = Held([], {}, {}, 3 * MANY + 1, [range(n, n + 2) for n in range(2, 3 * MANY, 3)])
    began = time.monotonic()

    assert len(plan.make(described, rows).volumes) == MANY
    assert not plan.make(older, rows).quarantined
    assert len(plan.make(described, NOTHING).volumes) == MANY
    assert len(plan.make(described, gapped).volumes) == MANY
    assert len(plan.make(_told(), rows).lost) == MANY

    assert time.monotonic() - began < LONG


def test_space_that_several_replicas_reach_into_is_nobodys_own() -> None:
    rows = _rows(2)
    wide = _found(0)

    both = plan.make(_told(wide, _found(1)), rows)
    shifted = plan.make(_told(replace(wide, at_gb=1, mark=ReplicaMark(99, 1, 1, clean=True))), rows)

    assert both.lost == ()
    assert shifted.lost == (3, 6)
