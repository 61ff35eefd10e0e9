"""Space stays tiled whatever happens to it, and only zeroed space is given out."""

import itertools
import random
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from inventory import disks, ids, registration, space
from inventory.errors import Invalid, NoSpace
from inventory.models import Disk, Extent, IdSpace
from tests.contract.api import SECTORS_PER_GB, zero_everything

Status = Extent.Status
GB = 20


def new_disk(gb: int = GB) -> Disk:
    server = registration.register_storage(addresses=["10.0.0.1"], boot_id="one")
    sectors = gb * SECTORS_PER_GB
    return disks.register_disk(server_id=server.pk, local_path="/d", capacity_sectors=sectors)


@pytest.fixture
def disk(db: None) -> Disk:
    made = new_disk()
    zero_everything()
    return made


def tiles() -> list[tuple[int, int, int]]:
    rows = Extent.objects.order_by("offset_gb")
    return list(rows.values_list("offset_gb", "size_gb", "status"))


class TestAnyHistory(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**9), st.integers(5, 40))
    def test_leaves_a_disk_tiled_and_never_gives_out_dirty_space(self, seed: int, n: int) -> None:
        chance, disk, dirty = random.Random(seed), new_disk(), set(range(GB))
        for _ in range(n):
            step = chance.choice([self._cut, self._give_back, self._zero, self._spoil])
            step(chance, disk, dirty)
            self._look(dirty)

    def _cut(self, chance: random.Random, disk: Disk, dirty: set[int]) -> None:
        wanted = [(disk.pk, chance.randint(1, 4)) for _ in range(chance.randint(1, 3))]
        before = tiles()
        try:
            with transaction.atomic():
                pieces = space.cut(wanted)
        except NoSpace:
            assert tiles() == before
            return
        assert [piece.size_gb for piece in pieces] == [size_gb for _, size_gb in wanted]
        for piece in pieces:
            span = set(range(piece.offset_gb, piece.offset_gb + piece.size_gb))
            assert not span & dirty

    def _give_back(self, chance: random.Random, disk: Disk, dirty: set[int]) -> None:
        exposed = chance.random() < 0.5
        used = list(Extent.objects.filter(status__in=[Status.BUSY, Status.EVACUATE]))
        chosen = chance.sample(used, min(len(used), 2))
        space.release([extent.pk for extent in chosen], exposed=exposed)
        for extent in chosen:
            if exposed or extent.status == Status.EVACUATE:
                dirty |= set(range(extent.offset_gb, extent.offset_gb + extent.size_gb))

    def _zero(self, chance: random.Random, disk: Disk, dirty: set[int]) -> None:
        extent = Extent.objects.filter(status=Status.OFFLINE).first()
        if extent is None:
            return
        first = space.split_offline(extent.pk, chance.randint(1, 6))
        extent = Extent.objects.get(pk=first)
        assert not space.certify(first, extent.generation + 1)
        assert space.certify(first, extent.generation)
        dirty -= set(range(extent.offset_gb, extent.offset_gb + extent.size_gb))

    def _spoil(self, chance: random.Random, disk: Disk, dirty: set[int]) -> None:
        blocks = chance.sample(range(GB), chance.randint(0, 2))
        hit = space.retire(disk, blocks)
        assert set(hit) <= set(
            Extent.objects.filter(status=Status.EVACUATE).values_list("pk", flat=True)
        )
        dirty |= set(blocks)

    def _look(self, dirty: set[int]) -> None:
        found = tiles()
        assert [offset for offset, _, _ in found] == [
            sum(size for _, size, _ in found[:n]) for n in range(len(found))
        ]
        assert sum(size for _, size, _ in found) == GB
        for before, after in itertools.pairwise(found):
            assert (before[2], after[2]) != (Status.FREE, Status.FREE)
        for offset, size, status in found:
            assert status != Status.FREE or not dirty & set(range(offset, offset + size))


def test_every_piece_has_a_new_number_and_a_higher_generation(disk: Disk) -> None:
    seen: set[int] = set()
    generations = []
    for _ in range(4):
        (piece,) = space.cut([(disk.pk, GB - 1)])
        seen.add(piece.extent_id)
        generations.append(piece.generation)
        space.release([piece.extent_id], exposed=False)

    assert len(seen) == 4
    assert generations == sorted(set(generations))


def test_the_smallest_free_extent_that_fits_is_used(disk: Disk) -> None:
    pieces = space.cut([(disk.pk, size) for size in (3, 1, 5, 1)])
    space.release([pieces[0].extent_id, pieces[2].extent_id], exposed=False)

    (piece,) = space.cut([(disk.pk, 3)])

    assert piece.offset_gb == 0


def test_what_was_exposed_is_offline_until_certified(disk: Disk) -> None:
    (piece,) = space.cut([(disk.pk, GB - 1)])
    space.release([piece.extent_id], exposed=True)

    with pytest.raises(NoSpace):
        space.cut([(disk.pk, 1)])
    assert space.certify(piece.extent_id, piece.generation)
    assert not space.certify(piece.extent_id, piece.generation)
    assert space.cut([(disk.pk, GB - 1)])


def test_a_block_beyond_the_disk_changes_nothing(disk: Disk) -> None:
    before = tiles()

    for block in (-1, GB):
        with pytest.raises(Invalid):
            space.retire(disk, [3, block])

    assert tiles() == before


def test_an_extent_in_use_with_bad_blocks_is_faulty_once_released(disk: Disk) -> None:
    (piece,) = space.cut([(disk.pk, 5)])

    assert space.retire(disk, [2]) == [piece.extent_id]
    assert space.retire(disk, [2]) == [piece.extent_id]
    space.release([piece.extent_id], exposed=False)

    assert tiles()[0] == (0, 5, Status.FAULTY)


def test_releasing_twice_changes_nothing(disk: Disk) -> None:
    (piece,) = space.cut([(disk.pk, 5)])
    space.release([piece.extent_id], exposed=True)
    before = tiles()

    space.release([piece.extent_id], exposed=False)

    assert tiles() == before


@pytest.mark.parametrize(
    ("offset_gb", "size_gb"), [(0, 3), (2, 5), (4, 1), (4, 4), (3, 30), (-1, 2), (19, 1)]
)
def test_the_database_refuses_overlap_and_space_beyond_the_disk(
    disk: Disk, offset_gb: int, size_gb: int
) -> None:
    space.cut([(disk.pk, 3), (disk.pk, 2)])
    Extent.objects.filter(offset_gb__gte=5).exclude(status=Status.SUPER).delete()
    fresh = Extent(id=999, disk=disk, offset_gb=offset_gb, size_gb=size_gb, status=Status.OFFLINE)

    with pytest.raises(IntegrityError), transaction.atomic():
        fresh.save(force_insert=True)
    Extent.objects.create(id=999, disk=disk, offset_gb=6, size_gb=1, status=Status.OFFLINE)
    with pytest.raises(IntegrityError), transaction.atomic():
        Extent.objects.filter(pk=999).update(offset_gb=offset_gb, size_gb=size_gb)


def test_the_database_refuses_a_number_given_out_twice(disk: Disk) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        IdSpace.objects.filter(name="volume").update(next_id=1)


def test_numbers_end_where_31_bits_do(disk: Disk) -> None:
    IdSpace.objects.filter(name="volume").update(next_id=ids.LAST - 1)

    with pytest.raises(NoSpace):
        ids.take("volume", 3)
    assert ids.take("volume", 2) == range(ids.LAST - 1, ids.LAST + 1)
    with pytest.raises(NoSpace):
        ids.take("volume")


def test_cutting_many_pieces_takes_a_constant_number_of_queries(
    disk: Disk, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        pieces = space.cut([(disk.pk, 1)] * (GB - 1))
    with django_assert_max_num_queries(16):
        space.release([piece.extent_id for piece in pieces], exposed=False)

    assert tiles() == [(0, GB - 1, Status.FREE), (GB - 1, 1, Status.SUPER)]
