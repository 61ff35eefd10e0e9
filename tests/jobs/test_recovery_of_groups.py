"""What ran while the manager knew less is attached where it runs; what does not run is over."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import call_command

from inventory import recovery
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import recover, restore, settle, used, write_dump
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica


def _lose_state_files(four: Cluster) -> None:
    """Have storage servers forget which epochs are over."""
    for node in four.world.storages.values():
        node.min_epoch.clear()


def test_a_head_that_does_not_answer_keeps_what_the_rows_say_it_runs(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    write_dump(dump)
    restore(four, dump)
    head.die()

    recover("--apply", "--without", f"hsvr-{head.server_id:08x}")

    assert four.state(volume) == "bound"
    head.start()
    four.reconcile()
    assert not recovery.why()
    assert set(head.groups) == {volume.pk}


def test_what_ended_without_a_clean_shutdown_is_not_taken_for_clean(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    four.detach(volume)
    write_dump(dump)
    four.attach(volume, head)
    restore(four, dump)
    head.groups.clear()

    recover("--apply")

    row = LogicalVolume.objects.get(pk=volume.pk)
    assert not row.closed_cleanly
    assert four.state(row) == "detached"
    assert row.epoch >= max(
        node.min_epoch[row.pk] for node in four.world.storages.values() if row.pk in node.min_epoch
    )
    four.attach(row, head)
    (order,) = [o for o in head.told("attach") if o.epoch == row.epoch + 1]
    assert all(mirror.dirty for device in order.devices for mirror in device.mirrors)


@pytest.mark.parametrize("fenced", [True, False], ids=["told-by-fences", "told-by-the-rows"])
def test_a_group_of_an_epoch_that_is_over_is_not_attached(
    four: Cluster, head: Head, dump: Path, *, fenced: bool
) -> None:
    volume = used(four, head, "data")
    old = head.groups[volume.pk]
    four.detach(volume)
    write_dump(dump)
    restore(four, dump)
    head.groups[volume.pk] = replace(old)
    if not fenced:
        _lose_state_files(four)

    recover("--apply")

    assert four.state(volume) == "detached"
    settle(four)
    assert not head.groups


def test_the_epoch_of_a_group_that_ended_with_its_head_is_over(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    volume.refresh_from_db()
    write_dump(dump)
    restore(four, dump)
    head.groups.clear()
    _lose_state_files(four)

    recover("--apply")

    row = LogicalVolume.objects.get(pk=volume.pk)
    assert row.epoch > volume.epoch
    assert not row.closed_cleanly
    assert four.state(row) == "detached"


def test_what_runs_was_not_closed_though_no_disk_tells_so(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    four.detach(volume)
    write_dump(dump)
    four.attach(volume, head)
    restore(four, dump)
    words = []
    for number, node in four.world.storages.items():
        node.die()
        words += ["--without", f"ssvr-{number:08x}"]

    recover("--apply", *words)

    assert four.state(volume) == "bound"
    assert not LogicalVolume.objects.get(pk=volume.pk).closed_cleanly


def test_what_was_under_way_at_the_dump_does_not_go_on(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = four.create()
    job = four.begin_attach(volume, head)
    write_dump(dump)
    four.work(3)
    four.detach(volume)
    attached = len(head.told("attach"))
    restore(four, dump)

    recover("--apply")

    assert Job.objects.get(pk=job.pk).state != Job.State.OPEN
    settle(four)
    assert len(head.told("attach")) == attached
    assert four.state(volume) == "detached"
    call_command("fsck")


def test_a_replica_that_missed_writes_is_not_taken_for_good(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    stale = four.replicas(volume)[0]
    head.lose(stale.pk)
    four.detach(volume)
    born = LogicalVolume.objects.get(pk=volume.pk).created
    generation = four.extent_of(stale).generation
    restore(four, dump)

    recover("--apply")

    good = four.replicas(volume, Replica.Status.INSYNC)
    assert [r.pk for r in good] == [r.pk for r in four.replicas(volume) if r.pk != stale.pk]
    assert Replica.objects.get(pk=stale.pk).status == Replica.Status.FAULTY
    assert four.extent_of(stale).generation == generation
    made = LogicalVolume.objects.get(pk=volume.pk).created
    assert int(made.timestamp()) == int(born.timestamp())
