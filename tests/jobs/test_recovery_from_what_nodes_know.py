"""A database that was restored, or is new, takes up what the nodes know."""

import errno
import xmlrpc.client
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.protocol import DiskState, FoundReplica, HighestSeen, ReplicaMark, VolumeAbout
from inventory import recovery, servers
from inventory.models import AuditEntry, Disk, Extent, IdSpace
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head
from volumes.integrity import backup
from volumes.models import Job, LogicalVolume, Replica

Status = Replica.Status


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "dump.gz"


def _dump(dump: Path) -> None:
    servers.cluster()
    backup.write(dump)


def _know(four: Cluster) -> None:
    """Let the nodes tell the highest numbers and generations, as agents do."""
    event = IdSpace.objects.get(name="event").next_id - 1
    number = IdSpace.objects.get(name="volume").next_id - 1
    nodes: list[Any] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.seen = HighestSeen(event, number, number)
        node.incarnation = servers.cluster().incarnation
    for server, storage in four.world.storages.items():
        storage.disks = [
            DiskState(
                disk.local_path,
                disk.local_path,
                disk.pk,
                disk.capacity_gb,
                generation=max(disk.extents.values_list("generation", flat=True)),
            )
            for disk in Disk.objects.filter(server=server)
        ]


def _restore(four: Cluster, dump: Path) -> None:
    _know(four)
    backup.restore(dump)


def _recover(*options: str) -> str:
    out = StringIO()
    call_command("recover", *options, stdout=out)
    return out.getvalue()


def _settle(four: Cluster) -> None:
    four.reconcile()
    four.work(3)
    four.reconcile()
    four.work(3)


def _used(four: Cluster, head: Head, name: str, **more: Any) -> LogicalVolume:
    volume = four.create(name, **more)
    four.attach(volume, head)
    return volume


def _places(four: Cluster, volume: LogicalVolume) -> list[tuple[int, int]]:
    return [(replica.pk, replica.server_id) for replica in four.replicas(volume)]


def test_what_is_newer_than_the_dump_is_rebuilt_with_all_that_it_was(
    four: Cluster, head: Head, dump: Path
) -> None:
    _dump(dump)
    running = _used(four, head, "running", redundancy=2)
    idle = _used(four, head, "idle", gb=25)
    four.detach(idle)
    four.call("createSnapshot", origin_lvolname="running", snapshot_lvolname="frozen")
    four.work(2)
    before = {v["lvolid"]: v for v in four.call("listLogicalVolumes")}
    places = {v.pk: _places(four, v) for v in LogicalVolume.objects.all()}
    epoch = LogicalVolume.objects.get(pk=running.pk).epoch

    _restore(four, dump)
    assert not LogicalVolume.objects.exists()
    shown = _recover("--apply")

    assert "rebuild: lvol" in shown
    volumes = {volume.name: volume for volume in LogicalVolume.objects.all()}
    assert set(volumes) == {"running", "idle", "frozen"}
    assert {v.pk: _places(four, v) for v in volumes.values()} == places
    assert volumes["frozen"].origin_id == running.pk
    assert four.state(volumes["running"]) == "bound"
    assert volumes["running"].epoch == epoch
    assert four.state(volumes["idle"]) == "detached"
    assert {v["lvolid"]: v for v in four.call("listLogicalVolumes")} == before
    assert not recovery.why()
    recovered = AuditEntry.objects.filter(verb="recover_volume")
    assert recovered.count() == 3
    _settle(four)
    call_command("fsck")
    assert set(head.groups) == {running.pk}

    four.detach(volumes["running"])
    four.attach(volumes["idle"], head)
    assert four.state(volumes["idle"]) == "bound"


def test_no_number_comes_twice_after_it(four: Cluster, head: Head, dump: Path) -> None:
    _dump(dump)
    gone = _used(four, head, "gone")
    four.detach(gone)
    four.call("deleteLogicalVolume", lvolname="gone")
    event = four.job(Job.Kind.DETACH).pk
    incarnation = servers.cluster().incarnation

    _restore(four, dump)
    _recover("--apply")

    assert not Job.objects.filter(state=Job.State.OPEN).exists()
    _settle(four)
    assert four.create("fresh").pk > gone.pk
    assert IdSpace.objects.get(name="event").next_id > event
    assert servers.cluster().incarnation == incarnation + 1


@pytest.mark.parametrize("shredded", [True, False])
def test_a_replica_that_moved_since_the_dump_is_where_it_is_now(
    four: Cluster, head: Head, dump: Path, *, shredded: bool
) -> None:
    volume = _used(four, head, "data", redundancy=2)
    four.detach(volume)
    _dump(dump)
    lost = four.replicas(volume)[0]
    four.call("notifyFailure", target=4, targetid=lost.pk)
    four.work(2)
    target = next(o for n in four.world.storages.values() for o in n.told("pull"))
    node = next(n for n in four.world.storages.values() if n.told("pull"))
    node.finish(target)
    four.work(4)
    now = _places(four, volume)
    assert lost.pk not in [pk for pk, _ in now]
    if shredded:
        _settle(four)

    _restore(four, dump)
    shown = _recover("--apply")

    assert f"gone: dext-{lost.pk:08x}" in shown
    _settle(four)
    assert _places(four, volume) == now
    four.attach(volume, head)
    call_command("fsck")


def test_a_volume_deleted_since_the_dump_has_lost_its_replicas(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = _used(four, head, "data")
    four.detach(volume)
    _dump(dump)
    four.call("deleteLogicalVolume", lvolname="data")
    _settle(four)

    _restore(four, dump)
    shown = _recover("--apply")

    assert shown.count("gone: ") == 3
    assert "deleted since: lvol" in shown
    assert not LogicalVolume.objects.exists()
    _settle(four)
    call_command("fsck")


def test_a_volume_that_was_attached_at_the_dump_and_is_not_now_is_free(
    four: Cluster, head: Head, dump: Path
) -> None:
    volume = _used(four, head, "data")
    _dump(dump)
    four.detach(volume)

    _restore(four, dump)
    _recover("--apply")

    assert four.state(volume) == "detached"
    four.attach(volume, head)
    call_command("fsck")


def test_a_second_run_changes_nothing_more(four: Cluster, head: Head, dump: Path) -> None:
    _dump(dump)
    volume = _used(four, head, "data")
    _restore(four, dump)
    _recover("--apply")
    before = [_places(four, volume), servers.cluster().incarnation]

    recovery.enter("it was cut off")
    _recover("--apply")

    assert [_places(four, volume), servers.cluster().incarnation] == before
    call_command("fsck")


@pytest.mark.parametrize("part", ["_take_up", "_quarantine", "_take_up_groups"])
def test_recovery_that_is_killed_is_run_again(
    four: Cluster, head: Head, dump: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    _dump(dump)
    for name in ("one", "two"):
        _used(four, head, name)
    _stray(four)
    _restore(four, dump)
    with monkeypatch.context() as patch:
        patch.setattr(f"volumes.recovery.apply.{part}", _killed)
        with pytest.raises(KeyboardInterrupt):
            _recover("--apply")
    assert recovery.why()

    _recover("--apply")

    assert set(LogicalVolume.objects.values_list("name", flat=True)) == {"one", "two"}
    assert set(head.groups) == set(LogicalVolume.objects.values_list("pk", flat=True))
    _settle(four)
    call_command("fsck")


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def _stray(four: Cluster) -> FoundReplica:
    """Part of a volume whose beginning nobody holds."""
    number = 9001
    about = VolumeAbout(9000, "half", 0, 8, 8, 2, 1764000000)
    found = FoundReplica(
        at_gb=60,
        live=True,
        mark=ReplicaMark(number, 0, 0, clean=True),
        generation=1,
        size_gb=4,
        mirrorid=9002,
        offset_gb=4,
        volume=about,
    )
    node = four.world.storages[1]
    node.held[Disk.objects.filter(server=1)[0].local_path][number] = found
    return found


def test_what_cannot_be_decided_is_kept_from_everybody(
    four: Cluster, head: Head, dump: Path
) -> None:
    _dump(dump)
    stray = _stray(four)
    _restore(four, dump)

    shown = _recover("--apply")

    assert "quarantine: dext-00002329 of lvol-00002328 half" in shown
    (row,) = four.call("vastsky.listOrphans")
    assert (row["kind"], row["name"], row["dextid"]) == ("replica", "half", 9001)
    assert "nothing holds its GB 0" in row["reason"]
    space = Extent.objects.get(pk=9001)
    assert (space.status, space.offset_gb, space.size_gb) == (Extent.Status.FAULTY, 60, 4)
    _settle(four)
    held = four.world.storages[1].held
    assert stray in [found for disk in held.values() for found in disk.values()]
    call_command("fsck")


def test_a_quarantine_is_released_by_name(four: Cluster, head: Head, dump: Path) -> None:
    _dump(dump)
    _stray(four)
    _restore(four, dump)
    _recover("--apply")

    assert "1 replicas" in _recover("--release", "lvol-00002328")
    _settle(four)

    assert not four.call("vastsky.listOrphans")
    assert not Extent.objects.exclude(status__in=[Extent.Status.FREE, Extent.Status.SUPER]).exists()
    assert not any(four.world.storages[1].held.values())
    assert AuditEntry.objects.get(verb="release_quarantine").subject == "lvol-00002328"
    call_command("fsck")


def test_nothing_is_applied_while_a_node_is_silent_that_nobody_excluded(
    four: Cluster, head: Head, dump: Path
) -> None:
    _dump(dump)
    _used(four, head, "data")
    _restore(four, dump)
    four.world.storages[2].die()

    with pytest.raises(CommandError, match="ssvr-00000002"):
        _recover("--apply")
    assert recovery.why()

    _recover("--apply", "--without", "ssvr-00000002")
    assert not recovery.why()
    entry = AuditEntry.objects.get(verb="exclude_nodes")
    assert entry.subject == "cluster"
    assert entry.detail == "ssvr-00000002"


def test_without_recovery_mode_nothing_is_applied(four: Cluster) -> None:
    servers.cluster()

    with pytest.raises(CommandError, match="not in recovery mode"):
        _recover("--apply")


# -- fsck -----------------------------------------------------------------------------------------


def test_fsck_compares_the_rows_with_what_nodes_tell(four: Cluster, head: Head, dump: Path) -> None:
    _dump(dump)
    volume = _used(four, head, "data")
    _know(four)
    call_command("fsck", "--nodes")
    replica = four.replicas(volume)[0]
    held = four.node_of(replica).held[four.disk_of(replica).local_path]

    gone = held.pop(replica.pk)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("fsck", "--nodes", stdout=out)
    assert out.getvalue() == f"nodes: dext-{replica.pk:08x} is here and not on its disk\n"

    held[replica.pk] = gone
    _restore(four, dump)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("fsck", "--nodes", stdout=out)
    assert f"lvol-{volume.pk:08x} data is on disks and not here" in out.getvalue()


# -- from nothing ---------------------------------------------------------------------------------


def _lose_everything(four: Cluster, dump: Path) -> list[str]:
    """Let the nodes know all, and the database nothing; where the nodes are."""
    _know(four)
    nodes: list[Any] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.cluster = str(servers.cluster().uuid)
    backup.restore(dump)
    return [node.address for node in nodes]


@pytest.fixture
def empty(db: None, dump: Path) -> Path:
    """A backup of a database that knew nothing yet."""
    _dump(dump)
    return dump


def test_an_empty_database_is_filled_from_its_nodes(empty: Path, four: Cluster, head: Head) -> None:
    running = _used(four, head, "running")
    idle = _used(four, head, "idle", redundancy=2)
    four.detach(idle)
    cluster = servers.cluster()
    before = {v["lvolid"]: v for v in four.call("listLogicalVolumes")}
    disks = four.call("listPhysicalDisks")
    places = {v.pk: _places(four, v) for v in LogicalVolume.objects.all()}
    where = _lose_everything(four, empty)
    assert not four.call("listPhysicalDisks")

    shown = _recover("--from-nodes", *where)
    assert shown.count("learned: ") == 5
    _recover("--apply")

    assert {v["lvolid"]: v for v in four.call("listLogicalVolumes")} == before
    assert {v.pk: _places(four, v) for v in LogicalVolume.objects.all()} == places
    assert [d["pdskid"] for d in four.call("listPhysicalDisks")] == [d["pdskid"] for d in disks]
    assert servers.cluster().uuid == cluster.uuid
    assert servers.cluster().incarnation > cluster.incarnation
    _settle(four)
    assert four.state(running) == "bound"
    four.attach(idle, head)
    assert four.create("fresh").pk > max(before)
    call_command("fsck")


def test_a_database_that_knows_servers_is_not_filled_from_nodes(four: Cluster) -> None:
    with pytest.raises(CommandError, match="not empty"):
        _recover("--from-nodes", "127.0.0.1")


# -- backups --------------------------------------------------------------------------------------


def test_a_backup_comes_back_as_it_was(four: Cluster, head: Head, dump: Path) -> None:
    volume = _used(four, head, "data")
    four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname="frozen")
    created = LogicalVolume.objects.get(pk=volume.pk).created
    before = four.call("listLogicalVolumes")
    call_command("backup", str(dump), stdout=StringIO())
    LogicalVolume.objects.update(created=timezone.now())

    call_command("restore", str(dump), "--replace", stdout=StringIO())

    assert AuditEntry.objects.filter(verb="restore").exists()
    assert four.call("listLogicalVolumes") == before
    assert LogicalVolume.objects.get(pk=volume.pk).created == created
    assert "backup" in recovery.why()
    call_command("fsck")


def test_a_restored_database_asks_for_recovery(four: Cluster, dump: Path) -> None:
    _dump(dump)
    backup.restore(dump)

    with pytest.raises(xmlrpc.client.Fault) as refusal:
        four.create()

    assert refusal.value.faultCode == errno.EAGAIN


@pytest.mark.parametrize("where", [80, 400, -3])
def test_a_damaged_backup_changes_nothing(four: Cluster, dump: Path, where: int) -> None:
    _dump(dump)
    data = bytearray(dump.read_bytes())
    data[where] ^= 0xFF
    dump.write_bytes(bytes(data))
    four.create("kept")

    with pytest.raises(CommandError):
        call_command("restore", str(dump), "--replace", stdout=StringIO())

    assert LogicalVolume.objects.get().name == "kept"


def test_rows_are_replaced_only_on_demand(four: Cluster, dump: Path) -> None:
    _dump(dump)

    with pytest.raises(CommandError, match="--replace"):
        call_command("restore", str(dump), stdout=StringIO())
