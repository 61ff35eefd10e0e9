"""What recovery plans from what was told: pure, and in proportion to what there is."""

import time
from dataclasses import replace

import pytest

from agents.protocol import FoundReplica, GroupState, ReplicaMark, VolumeAbout
from volumes.recovery import recovery_plan
from volumes.recovery.recovery_plan import Held, HeldReplica
from volumes.recovery.survey import DiskTold, GroupTold, Survey

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
    gapped = Held([], {}, {}, 3 * MANY + 1, [range(n, n + 3) for n in range(1, 3 * MANY, 3)])
    began = time.monotonic()

    assert len(recovery_plan.make(described, rows).volumes) == MANY
    assert not recovery_plan.make(older, rows).quarantined
    assert len(recovery_plan.make(described, NOTHING).volumes) == MANY
    assert len(recovery_plan.make(described, gapped).volumes) == MANY
    assert len(recovery_plan.make(_told(), rows).lost) == MANY

    assert time.monotonic() - began < LONG


def test_space_that_several_replicas_reach_into_is_nobodys_own() -> None:
    rows = _rows(2)
    wide = _found(0)

    both = recovery_plan.make(_told(wide, _found(1)), rows)
    shifted = recovery_plan.make(
        _told(replace(wide, at_gb=1, mark=ReplicaMark(99, 1, 1, clean=True))), rows
    )

    assert both.lost == ()
    assert shifted.lost == (3, 6)


def test_what_was_shredded_or_used_anew_is_nobodys() -> None:
    over = replace(_found(0), live=False)

    chosen = recovery_plan.make(_told(over), NOTHING)

    assert (chosen.volumes, dict(chosen.quarantined)) == ((), {})
    assert chosen.next_id > over.mark.dextid


def test_two_volumes_of_one_number_are_told_apart_by_their_births() -> None:
    stranger = replace(_found(0), volume=replace(_found(0).volume, created=BORN + 1))

    chosen = recovery_plan.make(_told(stranger), _rows(1))

    assert chosen.volumes == ()
    assert "another one" in "".join(chosen.quarantined.values())


def test_of_two_volumes_of_one_number_on_disks_the_later_has_it() -> None:
    """Nothing of one ever becomes a part of the other."""
    later = replace(_found(0), volume=replace(_found(0).volume, created=BORN + 1))
    earlier = replace(_found(0), at_gb=8, mark=ReplicaMark(99, 1, 9, clean=True))

    chosen = recovery_plan.make(_told(later, earlier), NOTHING)

    assert [p.dextid for volume in chosen.volumes for p in volume.places] == [3]
    assert [place.dextid for place in chosen.quarantined] == [99]


def test_a_number_that_was_given_out_again_and_never_used_goes_to_what_was_used() -> None:
    rows = _rows(1)
    fresh = replace(rows, replicas=[replace(rows.replicas[0], fresh=True)])
    used = replace(_found(0), volume=replace(_found(0).volume, created=BORN + 1))

    chosen = recovery_plan.make(_told(used), fresh)

    assert chosen.deleted == (1,)
    assert [(v.about, v.is_new, v.name) for v in chosen.volumes] == [(used.volume, True, "v0")]
    assert not chosen.quarantined


@pytest.mark.parametrize(
    ("used", "reason"),
    [
        (replace(_row(0), dextid=18), "its number 00000012 names a part of lvol-00000001 here"),
        (replace(_row(0), mirror=17), "its number 00000011 names a part of lvol-00000001 here"),
    ],
)
def test_what_has_a_number_of_another_volume_is_not_taken_for_a_part_of_it(
    used: HeldReplica, reason: str
) -> None:
    other = replace(_found(5), at_gb=8)
    own = replace(_found(0), mark=replace(_found(0).mark, dextid=used.dextid))
    own = replace(own, mirrorid=used.mirror)
    rows = Held([used], {1: BORN}, {"v0": 1}, 2)
    unused = replace(rows, replicas=[replace(used, fresh=True)])

    kept = recovery_plan.make(_told(own, other), rows)
    void = recovery_plan.make(_told(other), unused)

    assert [volume.about.lvolid for volume in kept.volumes] == [1]
    assert list(kept.quarantined.values()) == [reason]
    assert [volume.about.lvolid for volume in void.volumes] == [16]
    assert (void.deleted, dict(void.quarantined)) == ((1,), {})


def test_a_volume_whose_name_is_taken_gets_its_number_beside_it() -> None:
    again = _found(5, described=True)
    again = replace(again, volume=replace(again.volume, name="v0"))

    chosen = recovery_plan.make(_told(_found(0), again), _rows(1))

    names = {volume.about.lvolid: volume.name for volume in chosen.volumes}
    assert names == {1: "v0", 16: "v0.00000010"}


def test_a_volume_whose_end_nobody_holds_is_kept_in_quarantine() -> None:
    begun = replace(_found(0), volume=replace(_found(0).volume, capacity_gb=6, store_gb=6))

    chosen = recovery_plan.make(_told(begun), NOTHING)

    assert chosen.volumes == ()
    assert list(chosen.quarantined.values()) == ["nothing holds its GB 2"]


def test_a_snapshot_without_its_origin_is_kept_in_quarantine() -> None:
    snapshot = replace(_found(1), volume=replace(_found(1).volume, origin=1))

    alone = recovery_plan.make(_told(snapshot), NOTHING)
    both = recovery_plan.make(_told(snapshot, _found(0)), NOTHING)

    assert list(alone.quarantined.values()) == ["its origin lvol-00000001 was not found"]
    assert [volume.about.lvolid for volume in both.volumes] == [1, 4]


def test_a_mark_that_nothing_explains_is_kept_in_quarantine() -> None:
    mark = _found(0, described=False)

    assert dict(recovery_plan.make(_told(mark), NOTHING).quarantined)
    assert not recovery_plan.make(_told(mark), _rows(1)).quarantined


def test_of_two_replicas_of_a_mirror_on_one_server_the_newer_is_taken() -> None:
    older = _found(0)
    newer = replace(older, at_gb=8, mark=ReplicaMark(99, 1, 2, clean=True))
    wide = replace(older.volume, redundancy=3)
    told = _told(replace(older, volume=wide), replace(newer, volume=wide))

    chosen = recovery_plan.make(told, NOTHING)

    assert [place.dextid for place in chosen.surplus] == [older.mark.dextid]
    assert [place.dextid for v in chosen.volumes for place in v.places] == [99]


def test_of_two_replicas_events_count_more_than_numbers() -> None:
    written = replace(_found(0), mark=ReplicaMark(3, 1, 2, clean=True))
    left_behind = replace(written, at_gb=8, mark=ReplicaMark(99, 1, 1, clean=True))

    for told in (_told(written, left_behind), _told(left_behind, written)):
        assert [p.dextid for p in recovery_plan.make(told, NOTHING).surplus] == [99]


def test_numbers_go_on_above_all_that_a_descriptor_names() -> None:
    """Those of mirrors and origins are told by nothing else."""
    mirror = replace(_found(0), mirrorid=99)
    origin = replace(_found(0), volume=replace(_found(0).volume, origin=77))

    assert recovery_plan.make(_told(mirror), NOTHING).next_id == 100
    assert recovery_plan.make(_told(origin), NOTHING).next_id == 78


def test_what_no_head_has_used_is_not_missed_on_its_disk() -> None:
    rows = _rows(1)
    fresh = replace(rows, replicas=[replace(rows.replicas[0], fresh=True)])
    over = replace(_found(0), live=False, mark=ReplicaMark(99, 1, 1, clean=True))

    for told in (_told(), _told(over)):
        assert recovery_plan.make(told, fresh).lost == ()
        assert recovery_plan.make(told, rows).lost == (3,)


def test_a_mark_alone_is_a_replicas_own_where_it_begins_and_was_used() -> None:
    """Agents of older versions leave no descriptor."""
    rows = _rows(1)
    fresh = replace(rows, replicas=[replace(rows.replicas[0], fresh=True)])
    mark = _found(0, described=False)

    assert recovery_plan.make(_told(mark), rows).lost == ()
    assert recovery_plan.make(_told(mark), fresh).lost == (3,)
    assert recovery_plan.make(_told(replace(mark, at_gb=1)), rows).lost == (3,)


def test_a_replica_of_an_earlier_life_of_its_space_is_not_there() -> None:
    found = _found(0)
    reborn = replace(found, volume=replace(found.volume, created=BORN + 1))

    for other in (replace(found, generation=2), reborn):
        assert recovery_plan.make(_told(other), _rows(1)).lost == (3,)


def test_a_volume_all_of_whose_replicas_moved_was_not_deleted() -> None:
    moved = replace(_found(0), at_gb=8, mark=ReplicaMark(99, 1, 1, clean=True))

    chosen = recovery_plan.make(_told(moved), _rows(1))

    assert (chosen.lost, chosen.deleted) == ((3,), ())
    assert [place.dextid for volume in chosen.volumes for place in volume.places] == [99]


def test_a_volume_that_runs_was_not_deleted() -> None:
    running = GroupTold(7, GroupState(1, 3, alive=True, devices=(), replicas=()))

    gone = recovery_plan.make(_told(), _rows(1))
    runs = recovery_plan.make(replace(_told(), groups=(running,)), _rows(1))

    assert gone.deleted == (1,)
    assert runs.deleted == ()


def test_a_group_that_was_fenced_off_does_not_run() -> None:
    fenced, newer = (
        GroupTold(head, GroupState(1, epoch, alive=True, devices=(), replicas=()))
        for head, epoch in ((7, 3), (8, 4))
    )

    both = Survey(groups=(newer, fenced), fences={1: 4})

    assert both.running == {1: newer}
    assert Survey(groups=(fenced,), fences={1: 4}).running == {}


def test_a_number_that_was_given_out_since_does_not_make_a_volume_seem_deleted() -> None:
    """What a database that was copied back gave out before it noticed names nothing of it."""
    since = Held([], {}, {}, 2)

    assert [v.about.lvolid for v in recovery_plan.make(_told(_found(0)), since).volumes] == [1]
    recovered_and_deleted = Held([], {}, {}, 9, [range(3, 4)])
    assert recovery_plan.make(_told(_found(0)), recovered_and_deleted).volumes == ()
