"""A database that knows less than its nodes notices it by itself, and does no harm."""

import errno
import xmlrpc.client
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command

from agents.protocol import (
    AttachOrder,
    DiskState,
    FoundReplica,
    HighestSeen,
    Progress,
    ReplicaMark,
    Report,
    VolumeAbout,
)
from inventory import recovery, servers
from inventory.models import Cluster as ClusterRow
from inventory.models import Disk, Extent, HeadServer, IdSpace
from tests.contract.api import add_disk
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from volumes.attach import attach
from volumes.models import Job, LogicalVolume, Replica
from volumes.reports import problems
from volumes.worker import runner

BEYOND = 4711
"""A number that this database never gave out."""
FORGOTTEN = VolumeAbout(BEYOND, "tenant-a", 0, 4, 4, 2, 1764000000)


def _storage(four: Cluster) -> Storage:
    return next(iter(four.world.storages.values()))


def _told_of_an_event(four: Cluster, head: Head) -> None:
    head.seen = HighestSeen(event=BEYOND)


def _told_of_a_group(four: Cluster, head: Head) -> None:
    _storage(four).seen = HighestSeen(group=BEYOND)


def _told_of_an_extent(four: Cluster, head: Head) -> None:
    _storage(four).seen = HighestSeen(extent=BEYOND)


def _obeys_another_incarnation(four: Cluster, head: Head) -> None:
    _storage(four).incarnation = 2


def _exports_what_nobody_knows(four: Cluster, head: Head) -> None:
    _storage(four).exports = {BEYOND + 1: (BEYOND, 1)}


def _runs_a_later_epoch(four: Cluster, head: Head) -> None:
    volume = LogicalVolume.objects.get(name="used")
    group = head.groups[volume.pk]
    head.groups[volume.pk] = replace(group, order=replace(group.order, epoch=volume.epoch + 1))


def _has_space_of_a_later_generation(four: Cluster, head: Head) -> None:
    node = _storage(four)
    disk = Disk.objects.get(server=node.server_id)
    node.disks = [DiskState("d", disk.local_path, disk.pk, 100, generation=9)]


@pytest.fixture
def used(four: Cluster, head: Head) -> LogicalVolume:
    volume = four.create("used")
    four.attach(volume, head)
    return volume


@pytest.mark.parametrize(
    "knows_more",
    [
        _told_of_an_event,
        _told_of_a_group,
        _told_of_an_extent,
        _obeys_another_incarnation,
        _exports_what_nobody_knows,
        _runs_a_later_epoch,
        _has_space_of_a_later_generation,
    ],
)
def test_a_node_that_knows_more_begins_recovery_mode(
    four: Cluster, head: Head, used: LogicalVolume, knows_more: Callable[[Cluster, Head], None]
) -> None:
    four.reconcile()
    assert four.call("vastsky.clusterInfo")["recovery"] == ""

    knows_more(four, head)
    four.reconcile()

    assert "newer than this database" in four.call("vastsky.clusterInfo")["recovery"]
    assert any("recovery mode" in problem.title for problem in problems.find())
    assert problems.is_anything_wrong()


def test_all_that_shows_it_is_told(four: Cluster, head: Head, used: LogicalVolume) -> None:
    HeadServer.objects.update(name="north")
    _told_of_an_event(four, head)
    _told_of_a_group(four, head)
    _obeys_another_incarnation(four, head)
    four.reconcile()
    _runs_a_later_epoch(four, head)
    four.reconcile()
    four.reconcile()

    told = four.call("vastsky.clusterInfo")

    storage, own = f"ssvr-{_storage(four).server_id:08x}", f"north (hsvr-{head.server_id:08x})"
    assert told["reasons"] == [
        f"{storage} obeys incarnation 2, which is newer than this database",
        f"{storage} was told of lvol-{BEYOND:08x}, which is newer than this database",
        f"{own} was told of event {BEYOND}, which is newer than this database",
        f"{own} runs {used.name_and_id} of epoch 2, which is newer than this database",
    ]
    assert told["recovery"] == told["reasons"][0]
    (problem,) = [p for p in problems.find() if "recovery mode" in p.title]
    assert all(reason in problem.title for reason in told["reasons"])
    recovery.leave()
    assert four.call("vastsky.clusterInfo")["reasons"] == []


def test_what_we_ordered_ourselves_is_no_news(four: Cluster, head: Head) -> None:
    volume = four.create()
    for _ in range(3):
        four.attach(volume, head)
        four.reconcile()
        four.detach(volume)
        four.reconcile()
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    event = IdSpace.objects.get(name="event").next_id - 1
    number = IdSpace.objects.get(name="volume").next_id - 1
    head.seen = _storage(four).seen = HighestSeen(event, number, number)
    node = _storage(four)
    disk = Disk.objects.get(server=node.server_id)
    newest = max(Extent.objects.filter(disk=disk).values_list("generation", flat=True))
    node.disks = [DiskState("d", disk.local_path, disk.pk, 100, generation=newest + 1)]

    four.reconcile()

    assert not recovery.why()


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("createLogicalVolume", {"lvolname": "fresh", "capacity": 1}),
    ("createSnapshot", {"origin_lvolname": "used", "snapshot_lvolname": "s"}),
    ("deleteLogicalVolume", {"lvolname": "idle"}),
    ("deleteLogicalVolume", {"lvolname": "frozen"}),
    ("attachLogicalVolume", {"lvolname": "idle", "hsvrid": 1}),
    ("vastsky.forceAttach", {"lvolname": "idle", "hsvrid": 1}),
    ("detachLogicalVolume", {"lvolname": "used"}),
    ("deletePhysicalDisk", {"pdskid": 1}),
    ("deleteStorageServer", {"ssvrid": 1}),
    ("deleteHeadServer", {"hsvrid": 1}),
    ("vastsky.evacuate", {"ssvrid": 1}),
    ("vastsky.maintenance", {"ssvrid": 1}),
    ("shutdownAll", {}),
]


@pytest.mark.parametrize(("method", "members"), REFUSED)
def test_what_could_harm_is_refused_with_the_reason(
    four: Cluster, used: LogicalVolume, method: str, members: dict[str, Any]
) -> None:
    idle = four.create("idle")
    four.call("createSnapshot", origin_lvolname="used", snapshot_lvolname="frozen")
    before = list(LogicalVolume.objects.values_list("pk", "epoch"))
    recovery.enter("a node that knows more")

    with pytest.raises(xmlrpc.client.Fault) as refusal:
        four.call(method, **members)

    assert refusal.value.faultCode == errno.EAGAIN
    assert "a node that knows more" in refusal.value.faultString
    assert "manage.py recover" in refusal.value.faultString
    assert list(LogicalVolume.objects.values_list("pk", "epoch")) == before
    assert four.state(idle) == "detached"


def test_who_waits_for_an_attach_hears_of_it(
    four: Cluster, head: Head, idle: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def takes_long(order: AttachOrder) -> Report:
        return Report(order.eventid, order.order, Progress.RUNNING)

    monkeypatch.setattr(head, "on_attach", takes_long)
    monkeypatch.setattr(runner, "_move_clock", lambda: recovery.enter("a node that knows more"))

    with pytest.raises(xmlrpc.client.Fault, match="a node that knows more") as refusal:
        four.attach(idle, head)

    assert refusal.value.faultCode == errno.EAGAIN
    assert four.state(idle) == "binding"


def test_nothing_is_torn_down_or_repaired_and_what_runs_goes_on(
    four: Cluster, head: Head, used: LogicalVolume
) -> None:
    old = four.create("old")
    four.attach(old, head)
    group = head.groups[old.pk]
    four.detach(old)
    head.groups[old.pk] = group
    lost = four.replicas(used)[0]
    four.node_of(lost).die()
    head.lose(lost.pk)
    told = {n: len(node.log) for n, node in four.world.storages.items()}
    recovery.enter("a node that knows more")

    for _ in range(3):
        four.reconcile()
        four.work()

    assert set(head.groups) == {used.pk, old.pk}
    assert not head.told("rebuild")
    assert {n: len(node.log) for n, node in four.world.storages.items()} == told
    assert four.state(used) == "bound"
    assert not Job.objects.filter(kind=Job.Kind.FENCE).exists()


def test_a_disk_that_registers_is_not_shredded(four: Cluster) -> None:
    servers.cluster()
    recovery.enter("a node that knows more")

    add_disk(four.call, 1, "/disk/forgotten", 50)
    four.reconcile()
    four.work()

    assert not Job.objects.filter(kind=Job.Kind.SHRED).exists()


# -- places that are not clean --------------------------------------------------------------------


def _left_over(four: Cluster, volume: LogicalVolume, about: VolumeAbout, dextid: int) -> Replica:
    """Let something lie in the space of the volume's first replica."""
    replica = four.replicas(volume)[0]
    extent = Extent.objects.select_related("disk").get(pk=replica.pk)
    found = FoundReplica(
        at_gb=extent.offset_gb,
        live=True,
        mark=ReplicaMark(dextid, 0, 0, clean=True),
        generation=1,
        size_gb=1,
        mirrorid=60,
        volume=about,
    )
    four.node_of(replica).held[extent.disk.local_path][dextid] = found
    return replica


def test_a_place_where_something_is_over_is_shredded_and_another_is_taken(
    four: Cluster, head: Head
) -> None:
    gone, volume = four.create("gone"), four.create("data")
    number = four.replicas(gone)[0].pk
    about = replace(FORGOTTEN, lvolid=gone.pk, created=int(gone.created.timestamp()))
    four.call("deleteLogicalVolume", lvolid=gone.pk)
    unclean = _left_over(four, volume, about, number)

    four.attach(volume, head)

    assert four.state(volume) == "bound"
    assert unclean.pk not in [replica.pk for replica in four.replicas(volume)]
    assert len(four.replicas(volume, Replica.Status.INSYNC)) == 3
    four.reconcile()
    four.work(3)
    assert not Extent.objects.filter(status=Extent.Status.OFFLINE).exists()
    assert not recovery.why()
    call_command("fsck")


def test_a_place_where_somebody_may_be_is_not_shredded(four: Cluster, head: Head) -> None:
    volume = four.create()
    replica = _left_over(four, volume, FORGOTTEN, BEYOND)

    job = attach.request_attach(volume, head.server_id)
    four.work(2)

    job.refresh_from_db()
    assert "may be somebody's" in job.waiting
    assert "tenant-a" in recovery.why()
    assert not head.told("attach")
    assert not four.node_of(replica).shredded[1:]


def test_two_volumes_of_one_number_are_told_apart(four: Cluster, head: Head) -> None:
    """A restored database gives the numbers of what it has forgotten to something else."""
    volume = four.create()
    other = replace(FORGOTTEN, lvolid=volume.pk, name="tenant-a")
    _left_over(four, volume, other, four.replicas(volume)[0].pk)

    attach.request_attach(volume, head.server_id)
    four.work(2)

    assert not head.told("attach")
    assert "tenant-a" in recovery.why()


def test_a_head_that_knows_the_number_for_another_volume_does_not_attach_it(
    four: Cluster, head: Head
) -> None:
    volume = four.create()
    head.births[volume.pk] = FORGOTTEN.created

    with pytest.raises(xmlrpc.client.Fault, match="another one here"):
        four.attach(volume, head)

    assert not head.groups
    assert four.state(volume) == "error"


def test_space_is_not_shredded_where_somebody_may_be(four: Cluster, idle: LogicalVolume) -> None:
    _left_over(four, idle, FORGOTTEN, BEYOND)
    shredded = len(_storage(four).shredded)

    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.reconcile()
    four.work(3)

    assert "tenant-a" in recovery.why()
    assert len(_storage(four).shredded) == shredded


def test_recovery_mode_ends_once(four: Cluster) -> None:
    servers.cluster()
    assert recovery.enter("one reason")
    assert not recovery.enter("another reason")
    assert ClusterRow.objects.get().recovery == "one reason"

    assert recovery.leave()
    assert not recovery.leave()
