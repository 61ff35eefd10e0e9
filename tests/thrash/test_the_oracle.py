"""The oracle notices what it is there for: else its silence says nothing."""

import pytest

from tests.thrash.blocks import BLOCK, pack
from tests.thrash.faults import InjectedFault, Profile
from tests.thrash.oracle import Oracle
from tests.thrash.schedule import plan


@pytest.fixture
def oracle() -> Oracle:
    """Block 0 was written twice; the third write to it is under way."""
    oracle = Oracle("db")
    for _ in range(2):
        oracle.acknowledge(oracle.begin(0, 1))
    oracle.begin(0, 1)
    return oracle


@pytest.mark.parametrize("sequence", [2, 3])
def test_the_last_acknowledged_write_and_one_under_way_are_right(
    oracle: Oracle, sequence: int
) -> None:
    assert oracle.wrong(0, pack("db", 0, sequence)) == ""


@pytest.mark.parametrize(
    "found",
    [
        pack("db", 0, 1),
        bytes(BLOCK),
        pack("db", 0, 4),
        pack("db", 1, 2),
        pack("other", 0, 2),
        pack("db", 0, 2)[:512] + pack("db", 0, 1)[512:],
        b"x" * BLOCK,
    ],
    ids=["older", "lost", "never written", "of elsewhere", "of another volume", "torn", "foreign"],
)
def test_anything_else_is_wrong(oracle: Oracle, found: bytes) -> None:
    assert oracle.wrong(0, found)


def test_a_write_of_unknown_outcome_is_wrong_once_a_later_one_is_acknowledged(
    oracle: Oracle,
) -> None:
    oracle.acknowledge(oracle.begin(0, 1))

    assert oracle.wrong(0, pack("db", 0, 3))
    assert oracle.wrong(0, pack("db", 0, 4)) == ""


def test_a_snapshot_may_hold_what_was_under_way_at_its_instant_and_nothing_later(
    oracle: Oracle,
) -> None:
    with oracle.snapshot() as content:
        oracle.acknowledge(oracle.begin(0, 1))
    oracle.acknowledge(oracle.begin(0, 1))

    right = [n for n in range(6) if not content.wrong(0, pack("db", 0, n))]
    assert right == [2, 3, 4]


def test_what_all_replicas_are_found_to_hold_is_right_from_then_on(oracle: Oracle) -> None:
    oracle.settle(0, pack("db", 0, 2))

    assert oracle.wrong(0, pack("db", 0, 3))
    assert oracle.wrong(1, bytes(BLOCK)) == ""


def test_the_same_seed_makes_the_same_plan_and_gives_replicas_up_once_a_round() -> None:
    faults = [
        InjectedFault(name, Profile.DISK, lambda _arena, _chance: lambda: None, 1, lossy=name > "b")
        for name in "abcd"
    ]
    plans = [plan(1, number, faults) for number in range(50)]

    assert plans == [plan(1, number, faults) for number in range(50)]
    assert plans != [plan(2, number, faults) for number in range(50)]
    assert max(sum(strike.fault.lossy for strike in one.strikes) for one in plans) == 1
