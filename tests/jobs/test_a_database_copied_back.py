"""An older copy of the database that comes back by other means than `restore`."""

import errno
import xmlrpc.client
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F

from agents.protocol import HighestSeen
from inventory import recovery
from inventory.models import Watch
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import copy_back, places_of, recover, settle, used, write_dump
from tests.jobs.simulated_head import Head
from volumes.models import LogicalVolume


def newer_than_the_dump(
    four: Cluster, head: Head, dump: Path, *names: str, **more: Any
) -> list[LogicalVolume]:
    """Write a dump of a cluster whose nodes were asked, then make and use volumes."""
    Watch.objects.get_or_create(pk=1)
    four.reconcile()
    write_dump(dump)
    newer = [used(four, head, name, **more) for name in names]
    for volume in newer:
        four.detach(volume)
    return newer


def test_it_gives_out_nothing_once_that_was_said(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    places = places_of(four, volume)
    copy_back(four, dump)

    recover("--begin")
    recover("--begin")

    with pytest.raises(xmlrpc.client.Fault, match="an older copy of the database") as refused:
        four.create("another")
    assert refused.value.faultCode == errno.EAGAIN
    four.add_storage()
    recover("--apply")
    assert places_of(four, volume) == places
    assert not four.call("vastsky.listOrphans")
    settle(four)
    call_command("fsck", "--nodes")


def test_what_it_gives_out_before_it_notices_costs_nothing_that_is_newer(
    four: Cluster, head: Head, dump: Path
) -> None:
    newer = newer_than_the_dump(four, head, dump, "one", "two", "three")
    places = {volume.name: places_of(four, volume) for volume in newer}
    copy_back(four, dump)

    again = [four.create(name, redundancy=2).pk for name in ("four", "five", "six")]
    # Time passed until then; disks tell births in seconds.
    LogicalVolume.objects.update(created=F("created") + timedelta(minutes=1))
    assert newer[0].pk in again
    assert newer[1].pk not in again
    four.reconcile()
    assert recovery.why()
    recover("--apply")

    assert {volume.name: places_of(four, volume) for volume in newer} == places
    assert not four.call("vastsky.listOrphans")
    settle(four)
    for volume in newer:
        four.attach(volume, head)
    call_command("fsck", "--nodes")


def test_a_server_that_was_silent_then_keeps_what_is_newer(
    four: Cluster, head: Head, dump: Path
) -> None:
    (newer,) = newer_than_the_dump(four, head, dump, "newer", redundancy=2)
    places = places_of(four, newer)
    holders = [four.world.storages[server] for _, server in places]
    copy_back(four, dump)
    for storage in four.world.storages.values():
        if storage not in holders:
            storage.seen = HighestSeen()
    head.seen = HighestSeen()
    for holder in holders:
        holder.die()
    four.reconcile()
    for name in ("one", "two", "three"):
        four.create(name, redundancy=2)
        four.call("deleteLogicalVolume", lvolname=name)
    four.reconcile()

    for holder in holders:
        holder.start()
    four.reconcile()

    assert recovery.why()
    recover("--apply")
    assert places_of(four, newer) == places


def test_the_snapshot_of_a_volume_whose_number_names_another_one_there_goes_with_it(
    four: Cluster, head: Head, dump: Path
) -> None:
    newer = newer_than_the_dump(four, head, dump, "one", "two", "three")
    places = {volume.name: places_of(four, volume) for volume in newer}
    copy_back(four, dump)
    again = four.create("again", redundancy=2)
    assert again.pk == newer[0].pk
    four.create("filler", redundancy=3, gb=40)
    four.call("createSnapshot", origin_lvolid=again.pk, snapshot_lvolname="early")
    LogicalVolume.objects.update(created=F("created") + timedelta(minutes=1))
    four.reconcile()
    assert recovery.why()

    recover("--apply")

    assert {volume.name: places_of(four, volume) for volume in newer} == places
    assert not LogicalVolume.objects.filter(name__in=["again", "early"]).exists()
    assert not four.call("vastsky.listOrphans")
    settle(four)
    call_command("fsck", "--nodes")
