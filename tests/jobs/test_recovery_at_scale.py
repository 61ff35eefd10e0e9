"""Two hundred volumes in all states are recovered, from an old backup and from nothing."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from inventory import recovery
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import (
    kill_at_each_step,
    know,
    lose_everything,
    recover,
    restore,
    settle,
    used,
    write_dump,
)
from volumes.models import Attachment, Job, LogicalVolume, Replica

MANY = 200
RUNNING = 40
"""Of these, so many are in use."""
OFTEN = 20
"""Volumes made from one taking of statistics to the next: without, each read goes through all."""
STRIDE = 307
"""Changes between the steps at which a recovery is killed: it has about 1,600."""


class Busy:
    """A cluster with many volumes, of which some are in the midst of something at the dump."""

    def __init__(self, four: Cluster, dump: Path) -> None:
        self.four = four
        self.head = next(iter(four.world.heads.values()))
        for _ in range(2):
            four.add_storage(disks=2, gb=900)
        self._fill()
        write_dump(dump)
        self._go_on()

    def _fill(self) -> None:
        four, head = self.four, self.head
        for number in range(MANY):
            volume = used(four, head, f"v{number:03}", gb=1 + number % 3, redundancy=2)
            if number >= RUNNING:
                four.detach(volume)
            if number % OFTEN == 0:
                _take_statistics()
        for number in range(0, RUNNING, 8):
            four.call(
                "createSnapshot", origin_lvolname=f"v{number:03}", snapshot_lvolname=f"s{number:03}"
            )
        self.begun = four.create("being-attached")
        four.begin_attach(self.begun, head)
        self.rebuilt = self.by_name("v001")
        self._lose(self.rebuilt)
        four.work(2)
        assert Replica.objects.filter(status=Replica.Status.SPARE).exists()

    def _go_on(self) -> None:
        """After the dump what was under way ends, and other things are done."""
        four = self.four
        four.work(3)
        self._finish_rebuilds()
        four.call("deleteLogicalVolume", lvolname="v199")
        used(four, self.head, "newer", gb=2, redundancy=3)
        four.detach(self.by_name("v002"))
        four.attach(self.by_name("v198"), self.head)
        moved = self.by_name("v003")
        self._lose(moved)
        four.work(2)
        self._finish_rebuilds()
        settle(four)
        self.degraded = self.by_name("v004")
        self._lose(self.degraded)

    def by_name(self, name: str) -> LogicalVolume:
        return LogicalVolume.objects.get(name=name)

    def _lose(self, volume: LogicalVolume) -> None:
        replica = self.four.replicas(volume)[0]
        self.head.lose(replica.pk)
        self.four.reconcile()

    def _finish_rebuilds(self) -> None:
        for order in self.head.told("rebuild"):
            self.head.finish(order)
        self.four.work(3)

    def tell(self) -> dict[str, Any]:
        """Tell what there is: names, states, and the replicas that have all data."""
        bound = dict(Attachment.objects.values_list("volume__name", "state"))
        return {
            volume.name: (
                volume.pk,
                bound.get(volume.name, "detached"),
                volume.capacity_gb,
                volume.redundancy,
                volume.origin_id,
                sorted(r.pk for r in self.four.replicas(volume, Replica.Status.INSYNC)),
            )
            for volume in LogicalVolume.objects.all()
        }


def test_all_that_was_comes_back_from_an_old_backup_and_from_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dump(tmp_path / "empty")
    for _ in range(4):
        cluster.add_storage(gb=900)
    cluster.add_head()
    busy = Busy(cluster, tmp_path / "dump")
    _take_statistics()
    there = busy.tell()
    assert len(there) == MANY + 1 + 5 + 1 - 1

    restore(cluster, tmp_path / "dump")
    _take_statistics()
    assert busy.tell() != there
    recover("--apply")
    _is_as_it_was(busy, there)

    where = lose_everything(cluster, tmp_path / "empty")
    assert not LogicalVolume.objects.exists()
    recover("--from-nodes", *where)
    assert kill_at_each_step(monkeypatch, lambda: recover("--apply"), stride=STRIDE) > 1
    _is_as_it_was(busy, there)


def _take_statistics() -> None:
    """Do what PostgreSQL does by itself once rows are committed, which a test's never are."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _is_as_it_was(busy: Busy, there: dict[str, Any]) -> None:
    four = busy.four
    assert busy.tell() == there
    assert not recovery.why()
    assert not Job.objects.filter(state=Job.State.OPEN).exists()
    settle(four)
    call_command("fsck", "--nodes")
    assert set(busy.head.groups) == set(Attachment.objects.values_list("volume", flat=True))
    know(four)
