"""A volume is cut exactly, and a snapshot's store never overflows."""

from hypothesis import given
from hypothesis import strategies as st

from volumes.placement.layout import CHUNKS_PER_GB, mirror_sizes, snapshot_store_gb

capacities = st.integers(1, 1048576)


@given(capacities)
def test_mirrors_add_up_to_exactly_what_was_asked_for(capacity_gb: int) -> None:
    assert sum(mirror_sizes(capacity_gb)) == capacity_gb


@given(capacities)
def test_mirrors_are_few_and_equal_but_for_a_smaller_last_one(capacity_gb: int) -> None:
    *first, last = mirror_sizes(capacity_gb)

    assert len(first) < 64
    assert len(set(first)) <= 1
    assert 1 <= last <= min([*first, capacity_gb])
    assert max([*first, last]) <= max(10, -(-capacity_gb // 64))


def test_ten_terabytes_are_sixty_four_mirrors() -> None:
    assert mirror_sizes(10240) == [160] * 64


@given(capacities)
def test_a_snapshot_store_holds_every_chunk_its_metadata_and_a_header(capacity_gb: int) -> None:
    chunks = capacity_gb * CHUNKS_PER_GB
    metadata_chunks = -(-chunks * 16 // 16384)

    store_gb = snapshot_store_gb(capacity_gb)

    assert store_gb * CHUNKS_PER_GB >= chunks + metadata_chunks + 1
    assert (store_gb - 1) * CHUNKS_PER_GB < chunks + metadata_chunks + 1
