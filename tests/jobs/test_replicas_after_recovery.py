"""What recovery makes of the replicas that the rows have: as good as their disks tell."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.protocol import Reason
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import recover, restore, used, write_dump
from tests.jobs.simulated_head import Head
from volumes.models import LogicalVolume, Replica

Status = Replica.Status


def _statuses(four: Cluster, volume: LogicalVolume) -> list[tuple[Status, str]]:
    return [(Status(replica.status), replica.reason) for replica in four.replicas(volume)]


def test_what_was_used_since_is_in_sync(four: Cluster, head: Head, dump: Path) -> None:
    volume = four.create()
    write_dump(dump)
    four.attach(volume, head)
    four.detach(volume)
    restore(four, dump)

    recover("--apply")

    assert _statuses(four, volume) == [(Status.INSYNC, "")] * 3
    marks = [four.world.mark(replica.pk).events for replica in four.replicas(volume)]
    assert [replica.events for replica in four.replicas(volume)] == marks
    assert all(marks)


def test_what_missed_writes_since_is_stale(four: Cluster, head: Head, dump: Path) -> None:
    volume = used(four, head, "data")
    write_dump(dump)
    head.lose(four.replicas(volume)[0].pk)
    four.detach(volume)
    restore(four, dump)

    recover("--apply")

    stale, *good = _statuses(four, volume)
    assert stale == (Status.FAULTY, Reason.STALE)
    assert good == [(Status.INSYNC, "")] * 2


@pytest.mark.parametrize(
    ("reason", "now"),
    [(Reason.STALE, (Status.INSYNC, "")), (Reason.IO, (Status.FAULTY, Reason.IO))],
    ids=["caught-up-since", "never-to-be-trusted"],
)
def test_what_was_behind_at_the_dump_is_as_good_as_its_mark_and_its_reason_say(
    four: Cluster, head: Head, dump: Path, reason: Reason, now: tuple[Status, str]
) -> None:
    volume = used(four, head, "data")
    four.detach(volume)
    first = four.replicas(volume)[0].pk
    Replica.objects.filter(pk=first).update(status=Status.FAULTY, reason=reason)
    write_dump(dump)
    restore(four, dump)

    recover("--apply")

    assert _statuses(four, volume) == [now, (Status.INSYNC, ""), (Status.INSYNC, "")]


def test_what_was_exported_and_never_used_is_new(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = four.create()
    head.die()
    four.begin_attach(volume, head)
    four.work(2)
    assert any(node.held for node in four.world.storages.values())
    restore(four, dump)
    head.start()

    recover("--apply")

    assert _statuses(four, volume) == [(Status.ALLOCATED, "")] * 3


def test_what_lies_on_a_disk_that_cannot_be_read_is_not_gone(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    four.detach(volume)
    write_dump(dump)
    restore(four, dump)
    node = four.node_of(four.replicas(volume)[0])
    node.disks = [replace(disk, error="it does not answer") for disk in node.disks]
    node.held.clear()

    shown = recover("--apply")

    assert "gone: " not in shown
    assert len(four.replicas(volume)) == 3


def test_a_replica_of_a_mirror_that_the_rows_lack_is_kept_aside(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data", redundancy=2)
    four.detach(volume)
    write_dump(dump)
    restore(four, dump)
    node = four.node_of(four.replicas(volume)[0])
    (held,) = node.held.values()
    (found,) = held.values()
    held[9001] = replace(
        found, at_gb=60, mark=replace(found.mark, dextid=9001), mirrorid=9002, offset_gb=5
    )

    recover("--apply")

    (row,) = four.call("vastsky.listOrphans")
    assert (row["dextid"], row["reason"]) == (9001, "its volume has no such mirror here")
    assert len(four.replicas(volume)) == 2
