"""Six figures of many objects lie in one row, and come out of it as they went in, nearly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.io_figures import IoFigures, read_line, write_line
from volumes.sample_models import IoSample
from volumes.samples import packing
from volumes.samples.packing import NOTHING, Io

FIGURE = st.floats(0, 1e12, allow_subnormal=False)
NUMBER = st.integers(1, 600) | st.integers(1, 0x7FFFFFFF)
SAMPLES = st.dictionaries(NUMBER, st.builds(Io, *[FIGURE] * packing.FIGURES), max_size=100)
Kind = IoSample.Kind


def _near(sample: Io) -> object:
    return pytest.approx(sample, rel=1 / 180, abs=1e-30)


@given(st.sampled_from(Kind), SAMPLES)
def test_what_is_packed_is_found_by_its_number(kind: Kind, samples: dict[int, Io]) -> None:
    rows = dict(packing.shards(kind, samples))

    for number in [*samples, *range(600)]:
        row = rows.get(packing.shard_of(kind, number), b"")
        assert packing.find(row, number) == (_near(samples[number]) if number in samples else None)


def test_no_number_is_found_across_two_others() -> None:
    rows = packing.shards(Kind.VOLUME, {251: Io(1), 251 * 2**16: Io(2)})

    assert packing.find(dict(rows)[0], 251 * 2**8) is None


@given(st.lists(st.dictionaries(st.integers(0, 63), st.just(Io(2, 4)), max_size=9), max_size=9))
def test_a_mean_is_of_those_minutes_that_tell_of_an_object(minutes: list[dict[int, Io]]) -> None:
    rows = [data for minute in minutes for _, data in packing.shards(Kind.DISK, minute)]

    mean = packing.mean(rows)

    told = {number for minute in minutes for number in minute}
    found = {number: packing.find(mean, number) for number in range(64)}
    assert found == {n: _near(Io(2, 4)) if n in told else None for n in range(64)}


def test_the_whole_is_the_sum_of_its_parts() -> None:
    assert packing.total([Io(1, 2, 3), Io(10, 20, 30)]) == Io(11, 22, 33)
    assert packing.total([]) == NOTHING


@given(st.lists(st.integers(0, 2**63), min_size=9, max_size=9))
def test_a_line_is_read_as_it_was_written_whatever_is_added_to_it(numbers: list[int]) -> None:
    figures = IoFigures(*numbers)

    assert read_line(write_line(figures)) == read_line(f"{write_line(figures)} 7 later") == figures


@pytest.mark.parametrize("line", ["", "1 2", "1 2 3 4 5 6 7 8 x", "1 2 3 4 5 6 7 8 -9"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"figures|invalid"):
        read_line(line)
