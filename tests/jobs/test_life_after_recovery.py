"""What was taken up in a recovery is like what was never lost."""

from pathlib import Path

from django.core.management import call_command

from inventory import recovery
from inventory.models import IdGap
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import recover, restore, settle, used, write_dump
from tests.jobs.simulator import Head


def test_what_was_taken_up_and_deleted_since_is_over(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    restore(four, dump)
    recover("--apply")
    replicas = four.replicas(volume)
    for node in four.world.storages.values():
        node.hold_shreds = True

    four.detach(volume)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    four.node_of(replicas[0]).exports[replicas[0].pk] = (volume.pk, volume.epoch)

    call_command("fsck", "--nodes")
    settle(four)
    assert not four.call("vastsky.listOrphans")
    assert not four.node_of(replicas[0]).exports


def test_numbers_that_were_not_taken_up_stay_unknown(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data", redundancy=2)
    taken = {volume.pk, four.mirror(volume).pk, *(r.pk for r in four.replicas(volume))}
    restore(four, dump)

    recover("--apply")

    gaps = recovery.gaps("volume")
    assert not any(number in gap for gap in gaps for number in taken)
    between = set(range(min(taken), max(taken))) - taken
    assert between
    assert all(any(number in gap for gap in gaps) for number in between)
    assert not any(gap.first >= gap.beyond for gap in IdGap.objects.all())
