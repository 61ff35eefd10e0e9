"""Whose content is right, and what differs, is decided purely."""

from hypothesis import given
from hypothesis import strategies as st

from agents.checksums import UNREADABLE
from volumes.scrub import comparison

DIGESTS = st.sampled_from(["a", "b", "c", "", UNREADABLE])


@given(st.dictionaries(st.integers(1, 9), DIGESTS, min_size=2, max_size=9))
def test_what_is_chosen_is_a_majority_or_all_that_can_be_read(contents: dict[int, str]) -> None:
    right = comparison.choose(contents)

    readable = [digest for digest in contents.values() if digest != UNREADABLE]
    counts = {digest: readable.count(digest) for digest in readable}
    winners = {digest for digest, count in counts.items() if count * 2 > len(contents)}
    if len(counts) == 1 and len(readable) < len(contents):
        winners = set(counts)
    assert ({contents[right]} if right else set()) == winners


def test_two_that_differ_are_never_guessed() -> None:
    assert comparison.choose({1: "a", 2: "b"}) is None
    assert comparison.choose({1: "a", 2: "a", 3: "b", 4: "b"}) is None


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.tuples(*[DIGESTS] * n), max_size=12)))
def test_runs_hold_each_block_that_differs_once_and_no_other(
    columns: list[tuple[str, ...]],
) -> None:
    width = len(columns[0]) if columns else 2
    digests = {number: [column[number] for column in columns] for number in range(width)}

    runs = comparison.runs(digests, first=10)

    told = [block for run in runs for block in range(run.first, run.first + run.count)]
    wrong = [n + 10 for n, one in enumerate(columns) if len(set(one)) > 1 or UNREADABLE in one]
    assert told == wrong
