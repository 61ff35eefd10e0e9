"""A selection of `make thrash`: faults at random, and an oracle that knows each write."""

from pathlib import Path

from tests.thrash.faults import Profile
from tests.thrash.run import RunOptions, thrash

SEED = 1696
SECONDS = 80
"""After which no further round begins."""


def test_a_cluster_that_is_thrashed_loses_no_write_and_gets_whole_again(tmp_path: Path) -> None:
    figures, found = thrash(RunOptions(tmp_path, SECONDS, SEED, Profile.ALL))

    print(figures.table())
    assert [str(finding) for finding in found] == [], (
        f"in round {figures.rounds} of seed {SEED}; see {tmp_path}/thrash.log"
    )
    assert set(figures.found.values()) == {0}
    assert figures.kills > 0
    assert figures.writes > 1000
