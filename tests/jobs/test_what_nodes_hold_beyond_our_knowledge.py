"""The sweep takes down what this database ended itself, and never what it does not understand."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from inventory.models import IdSpace
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head, SimulatedGroup
from tests.jobs.simulated_storage import Storage
from volumes.models import LogicalVolume
from volumes.recovery import sweep
from volumes.reports import problems

BEYOND = 4711
"""A number that this database never gave out."""


def _orphans(four: Cluster) -> list[dict[str, Any]]:
    return list(four.call("vastsky.listOrphans"))


def _left_running(four: Cluster, head: Head) -> tuple[LogicalVolume, SimulatedGroup]:
    """A group that goes on running on a head after its detach."""
    volume = four.create()
    four.attach(volume, head)
    group = head.groups[volume.pk]
    four.detach(volume)
    head.groups[volume.pk] = group
    return volume, group


def _left_exported(four: Cluster, head: Head) -> tuple[LogicalVolume, Storage]:
    """A volume that is detached, and a server that goes on exporting its replica."""
    volume = four.create()
    four.attach(volume, head)
    node = four.node_of(four.replicas(volume)[0])
    kept = dict(node.exports)
    four.detach(volume)
    node.exports = kept
    return volume, node


def test_a_group_beyond_our_numbers_is_left_alone_and_listed(four: Cluster, head: Head) -> None:
    _, group = _left_running(four, head)
    head.groups = {BEYOND: replace(group, open=True)}
    told = len(head.told("detach"))

    four.reconcile()

    assert BEYOND in head.groups
    assert len(head.told("detach")) == told
    (row,) = _orphans(four)
    assert (row["kind"], row["hsvrid"], row["lvolid"]) == ("group", head.server_id, BEYOND)


def test_an_export_beyond_our_numbers_is_left_alone_and_listed(four: Cluster, head: Head) -> None:
    _, node = _left_exported(four, head)
    node.exports = {BEYOND + 1: (BEYOND, 3)}

    four.reconcile()

    assert node.exports == {BEYOND + 1: (BEYOND, 3)}
    (row,) = _orphans(four)
    assert (row["ssvrid"], row["dextid"], row["epoch"]) == (node.server_id, BEYOND + 1, 3)
    assert row["disk"] == "disk-1"


def test_a_newer_epoch_of_a_volume_that_we_know_is_left_alone(four: Cluster, head: Head) -> None:
    volume, group = _left_running(four, head)
    head.groups[volume.pk] = replace(group, order=replace(group.order, epoch=99))
    node = four.node_of(four.replicas(volume)[0])
    node.exports = {four.replicas(volume)[0].pk: (volume.pk, 99)}

    four.reconcile()

    assert volume.pk in head.groups
    assert node.exports
    assert {row["epoch"] for row in _orphans(four)} == {99}


def test_a_snapshot_beyond_our_numbers_is_not_taken_from_its_group(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    head.groups[volume.pk].snapshots.add(BEYOND)

    four.reconcile()

    assert BEYOND in head.groups[volume.pk].snapshots
    assert [row["kind"] for row in _orphans(four)] == ["snapshot"]


def test_what_a_deletion_left_on_nodes_is_cleaned_away(four: Cluster, head: Head) -> None:
    volume, group = _left_running(four, head)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    node = next(iter(four.world.storages.values()))
    node.exports = {1: (volume.pk, group.order.epoch)}
    head.groups[volume.pk].open = True

    four.reconcile()

    assert not head.groups
    assert not node.exports
    assert not _orphans(four)


def test_an_export_that_a_client_uses_stays_until_a_newer_attach(four: Cluster, head: Head) -> None:
    volume, node = _left_exported(four, head)
    node.clients = 1

    four.reconcile()
    assert node.exports

    four.attach(volume, head)
    assert {epoch for _, epoch in node.exports.values()} == {3}


def test_nothing_is_taken_down_within_the_grace_after_a_start(
    four: Cluster, head: Head, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, node = _left_exported(four, head)
    monkeypatch.setattr(sweep, "_rests_until", float("-inf"))
    settings.VASTSKY_SWEEP_GRACE_SECONDS = 60
    sweep.begin_grace()

    four.reconcile()

    assert node.exports
    settings.VASTSKY_SWEEP_GRACE_SECONDS = 0
    sweep.begin_grace()
    four.reconcile()
    assert not node.exports


def test_an_orphan_is_a_problem_until_it_is_gone(four: Cluster, head: Head) -> None:
    _, group = _left_running(four, head)
    head.groups = {BEYOND: group}
    four.reconcile()

    assert any("unknown here" in problem.title for problem in problems.find())
    assert problems.is_anything_wrong()

    head.groups = {}
    four.reconcile()
    assert not _orphans(four)
    assert not any("unknown here" in problem.title for problem in problems.find())


def test_orphans_come_a_page_at_a_time(four: Cluster, head: Head) -> None:
    node = next(iter(four.world.storages.values()))
    node.exports = {BEYOND + n: (BEYOND, 1) for n in range(3)}
    four.reconcile()

    first, *others = _orphans(four)

    assert four.call("vastsky.listOrphans", after=first["id"]) == others


def test_the_console_lists_orphans(four: Cluster, head: Head, admin_client: Client) -> None:
    node = next(iter(four.world.storages.values()))
    node.exports = {BEYOND + 1: (BEYOND, 1)}
    four.reconcile()

    page = admin_client.get(reverse("admin:volumes_orphan_changelist")).content.decode()

    assert f"dext-{BEYOND + 1:08x}" in page
    assert f"lvol-{BEYOND:08x}" in page
    assert IdSpace.objects.get(name="volume").next_id < BEYOND
