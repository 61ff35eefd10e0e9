"""A database that was restored takes up what the nodes know."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agents.protocol import FoundReplica, ReplicaMark
from inventory import recovery, servers
from inventory.models import AuditEntry, Extent, IdSpace, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import (
    add_stray,
    kill_at_each_step,
    know,
    places_of,
    recover,
    restore,
    settle,
    used,
    write_dump,
)
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


def test_what_is_newer_than_the_dump_is_rebuilt_with_all_that_it_was(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    running = used(four, head, "running", redundancy=2)
    idle = used(four, head, "idle", gb=25)
    four.detach(idle)
    four.call("createSnapshot", origin_lvolname="running", snapshot_lvolname="frozen")
    four.work(2)
    before = {v["lvolid"]: v for v in four.call("listLogicalVolumes")}
    places = {v.pk: places_of(four, v) for v in LogicalVolume.objects.all()}
    epoch = LogicalVolume.objects.get(pk=running.pk).epoch

    restore(four, dump)
    assert not LogicalVolume.objects.exists()
    shown = recover("--apply")

    assert "rebuild: running (lvol-" in shown
    volumes = {volume.name: volume for volume in LogicalVolume.objects.all()}
    assert set(volumes) == {"running", "idle", "frozen"}
    assert {v.pk: places_of(four, v) for v in volumes.values()} == places
    assert volumes["frozen"].origin_id == running.pk
    assert four.state(volumes["running"]) == "bound"
    assert volumes["running"].epoch == epoch
    assert four.state(volumes["idle"]) == "detached"
    assert {v["lvolid"]: v for v in four.call("listLogicalVolumes")} == before
    assert not recovery.why()
    recovered = AuditEntry.objects.filter(verb="recover_volume")
    assert recovered.count() == 3
    settle(four)
    call_command("fsck")
    assert set(head.groups) == {running.pk}

    four.detach(volumes["running"])
    four.attach(volumes["idle"], head)
    assert four.state(volumes["idle"]) == "bound"


@pytest.mark.parametrize("restored", [True, False], ids=["restored", "copied-back-by-hand"])
def test_no_number_comes_twice_after_it(
    four: Cluster, head: Head, dump: Path, monkeypatch: pytest.MonkeyPatch, *, restored: bool
) -> None:
    if not restored:  # nothing leaves room for what was given out since
        monkeypatch.setattr(recovery, "ROOM", 0)
    write_dump(dump)
    gone = used(four, head, "gone")
    last = max(replica.pk for replica in four.replicas(gone))
    four.detach(gone)
    four.call("deleteLogicalVolume", lvolname="gone")
    settle(four)
    event = four.job(Job.Kind.DETACH).pk
    incarnation = servers.cluster().incarnation

    restore(four, dump)
    recover("--apply")

    assert not Job.objects.filter(state=Job.State.OPEN).exists()
    settle(four)
    assert four.create("fresh").pk > last
    assert IdSpace.objects.get(name="event").next_id > event
    assert servers.cluster().incarnation == incarnation + 1


@pytest.mark.parametrize("shredded", [True, False])
def test_a_replica_that_moved_since_the_dump_is_where_it_is_now(
    four: Cluster, head: Head, dump: Path, *, shredded: bool
) -> None:
    volume = used(four, head, "data", redundancy=2)
    four.detach(volume)
    write_dump(dump)
    lost = four.replicas(volume)[0]
    four.call("notifyFailure", target=4, targetid=lost.pk)
    four.work(2)
    target = next(o for n in four.world.storages.values() for o in n.told("pull"))
    node = next(n for n in four.world.storages.values() if n.told("pull"))
    node.finish(target)
    four.work(4)
    now = places_of(four, volume)
    assert lost.pk not in [pk for pk, _ in now]
    if shredded:
        settle(four)

    restore(four, dump)
    shown = recover("--apply")

    assert f"gone: dext-{lost.pk:08x}" in shown
    settle(four)
    assert places_of(four, volume) == now
    four.attach(volume, head)
    call_command("fsck")


def test_a_volume_deleted_since_the_dump_has_lost_its_replicas(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    four.detach(volume)
    write_dump(dump)
    four.call("deleteLogicalVolume", lvolname="data")
    settle(four)

    restore(four, dump)
    shown = recover("--apply")

    assert shown.count("gone: ") == 3
    assert "deleted since: data (lvol-" in shown
    assert not LogicalVolume.objects.exists()
    settle(four)
    call_command("fsck")


def test_a_volume_deleted_since_the_dump_takes_its_snapshots_with_it(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    for name in ("monday", "tuesday"):
        four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname=name, capacity=1)
    four.detach(volume)
    write_dump(dump)
    for name in ("monday", "tuesday", "data"):
        four.call("deleteLogicalVolume", lvolname=name)
    settle(four)

    restore(four, dump)
    recover("--apply")

    assert not LogicalVolume.objects.exists()
    settle(four)
    call_command("fsck")


def test_it_takes_one_with_it_that_was_never_used_and_one_on_a_disk_that_was_away(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname="used", capacity=1)
    four.detach(volume)
    four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname="unused", capacity=1)
    write_dump(dump)
    dextid, server = places_of(four, LogicalVolume.objects.get(name="used"))[0]
    away = four.world.storages[server].held
    (disk,) = (disk for disk, held in away.items() if dextid in held)
    found = away[disk][dextid]
    for name in ("used", "unused", "data"):
        four.call("deleteLogicalVolume", lvolname=name)
    settle(four)
    away[disk][dextid] = found

    restore(four, dump)
    recover("--apply")

    assert not LogicalVolume.objects.exists()
    (kept,) = four.call("vastsky.listOrphans")
    assert (kept["dextid"], kept["reason"][:11]) == (dextid, "its origin ")
    assert "1 replicas" in recover("--release", f"lvol-{kept['lvolid']:08x}")
    settle(four)
    call_command("fsck")


def test_a_volume_that_was_attached_at_the_dump_and_is_not_now_is_free(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data")
    write_dump(dump)
    four.detach(volume)

    restore(four, dump)
    recover("--apply")

    assert four.state(volume) == "detached"
    four.attach(volume, head)
    call_command("fsck")


def test_a_volume_that_no_head_has_used_is_kept(four: Cluster, head: Head, dump: Path) -> None:
    volume = four.create("never-attached")
    places = places_of(four, volume)
    write_dump(dump)
    used(four, head, "data")
    restore(four, dump)

    recover("--apply")

    assert places_of(four, volume) == places
    four.attach(volume, head)
    settle(four)
    call_command("fsck", "--nodes")


def test_space_that_was_free_at_the_dump_is_zeroed_anew(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    for name in ("one", "two"):
        four.detach(used(four, head, name, redundancy=4))
        four.call("deleteLogicalVolume", lvolname=name)
        settle(four)
    restore(four, dump)
    told = {d.pdskid: d.generation for n in four.world.storages.values() for d in n.disks}

    recover("--apply")

    unused = Extent.objects.exclude(status=Extent.Status.SUPER)
    assert {extent.status for extent in unused} == {Extent.Status.OFFLINE}
    # Servers refuse to zero it for what is older.
    assert {extent.disk_id: extent.generation for extent in unused} == told
    settle(four)
    assert {extent.status for extent in unused.all()} == {Extent.Status.FREE}


def test_a_second_run_changes_nothing_more(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    restore(four, dump)
    recover("--apply")
    before = [places_of(four, volume), servers.cluster().incarnation]

    recovery.enter("it was cut off")
    recover("--apply")

    assert [places_of(four, volume), servers.cluster().incarnation] == before
    call_command("fsck")


def test_recovery_that_is_killed_at_any_step_is_run_again(
    four: Cluster, head: Head, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = used(four, head, "gone")
    four.detach(gone)
    write_dump(dump)
    for name in ("one", "two"):
        used(four, head, name)
    four.call("deleteLogicalVolume", lvolname="gone")
    settle(four)
    add_stray(four)
    restore(four, dump)

    steps = kill_at_each_step(monkeypatch, lambda: recover("--apply"))

    assert steps > 6
    assert not recovery.why()
    assert set(LogicalVolume.objects.values_list("name", flat=True)) == {"one", "two"}
    assert set(head.groups) == set(LogicalVolume.objects.values_list("pk", flat=True))
    assert len(four.call("vastsky.listOrphans")) == 1
    settle(four)
    call_command("fsck")


def test_what_cannot_be_decided_is_kept_from_everybody(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    stray = add_stray(four)
    restore(four, dump)

    shown = recover("--apply")

    assert "quarantine: dext-00002329 of half (lvol-00002328)" in shown
    (row,) = four.call("vastsky.listOrphans")
    assert (row["kind"], row["name"], row["dextid"]) == ("replica", "half", 9001)
    assert "nothing holds its GB 0" in row["reason"]
    space = Extent.objects.get(pk=9001)
    assert (space.status, space.offset_gb, space.size_gb) == (Extent.Status.FAULTY, 60, 4)
    settle(four)
    held = four.world.storages[1].held
    assert stray in [found for disk in held.values() for found in disk.values()]
    call_command("fsck")


def test_what_bears_no_number_or_one_that_is_taken_is_kept_under_another(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = used(four, head, "data", redundancy=2)
    four.detach(volume)
    write_dump(dump)
    node = next(n for n in four.world.storages.values() if not any(n.held.values()))
    disk = four.disk_at(node)
    twin = add_stray(four)
    del four.world.storages[1].held[four.disk_at(four.world.storages[1]).local_path][9001]
    number = four.replicas(volume)[0].pk
    twin = replace(
        twin, mark=replace(twin.mark, dextid=number), volume=replace(twin.volume, lvolid=volume.pk)
    )
    alone = FoundReplica(70, live=True, mark=ReplicaMark(0, 1, 1, clean=True))
    node.held[disk.local_path] = {number: twin, -1: alone}
    restore(four, dump)

    recover("--apply")

    kept = Extent.objects.filter(disk=disk, status=Extent.Status.FAULTY).order_by("offset_gb")
    assert [(extent.offset_gb, extent.size_gb) for extent in kept] == [(60, 4), (70, 1)]
    assert not {0, number} & {extent.pk for extent in kept}
    assert [four.extent_of(r).disk_id for r in four.replicas(volume)].count(disk.pk) == 0
    call_command("fsck")


def test_a_quarantine_is_released_by_name(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    add_stray(four)
    restore(four, dump)
    recover("--apply")

    assert "1 replicas" in recover("--release", "lvol-00002328")
    settle(four)

    assert not four.call("vastsky.listOrphans")
    assert not Extent.objects.exclude(status__in=[Extent.Status.FREE, Extent.Status.SUPER]).exists()
    assert not any(four.world.storages[1].held.values())
    assert AuditEntry.objects.get(verb="release_quarantine").subject == "lvol-00002328"
    assert not any(9001 in gap for gap in recovery.gaps("volume"))
    call_command("fsck")


def test_nothing_is_applied_while_a_node_is_silent_that_nobody_excluded(
    four: Cluster, head: Head, dump: Path
) -> None:
    write_dump(dump)
    used(four, head, "data")
    restore(four, dump)
    four.world.storages[2].die()
    StorageServer.objects.filter(pk=2).update(name="south")

    with pytest.raises(CommandError, match=r"^south \(ssvr-00000002\) did not answer"):
        recover("--apply")
    assert recovery.why()

    recover("--apply", "--without", "ssvr-00000002")
    assert not recovery.why()
    entry = AuditEntry.objects.get(verb="exclude_nodes")
    assert entry.subject == "cluster"
    assert entry.detail == "south (ssvr-00000002)"


def test_without_recovery_mode_nothing_is_applied(four: Cluster) -> None:
    servers.cluster()

    with pytest.raises(CommandError, match="not in recovery mode"):
        recover("--apply")


# -- fsck -----------------------------------------------------------------------------------------


def test_fsck_compares_the_rows_with_what_nodes_tell(four: Cluster, head: Head, dump: Path) -> None:
    write_dump(dump)
    volume = used(four, head, "data")
    know(four)
    call_command("fsck", "--nodes")
    replica = four.replicas(volume)[0]
    held = four.node_of(replica).held[four.disk_of(replica).local_path]

    gone = held.pop(replica.pk)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("fsck", "--nodes", stdout=out)
    assert out.getvalue() == f"nodes: dext-{replica.pk:08x} is here and not on its disk\n"

    held[replica.pk] = gone
    restore(four, dump)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("fsck", "--nodes", stdout=out)
    assert f"data (lvol-{volume.pk:08x}) is on disks and not here" in out.getvalue()
