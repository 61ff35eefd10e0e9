"""Each invariant is broken behind the database's back, and `manage.py fsck` says so."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from inventory import servers
from inventory.models import Extent, HeadServer, Priority, StorageServer
from tests.contract.api import Api
from volumes.integrity.fsck import violations
from volumes.integrity.invariants import CHECKS
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica

pytestmark = pytest.mark.django_db

World = dict[str, Any]
Damage = str | Callable[[World], Any]


def job(kind: Job.Kind, extent: str = "") -> Callable[[World], Any]:
    """An open job of the first volume whose time is over."""
    past = timezone.now() - timedelta(days=1)
    about = {"id": 1, "kind": kind, "subject": "x", "due": past, "deadline": past}
    return lambda world: Job.objects.create(
        **about, volume_id=world["volume"], extent_id=world.get(extent)
    )


def attached(state: Attachment.State) -> Callable[[World], Any]:
    return lambda world: Attachment.objects.create(
        volume_id=world["volume"], head_id=world["head"], state=state
    )


EPOCH = "UPDATE volumes_logicalvolume SET epoch = 1"
FAILED = "UPDATE volumes_replica SET status = 4 WHERE %s"
LONG_AGO = "UPDATE volumes_replica SET since = '2020-01-01'"

DAMAGE: list[tuple[str, list[Damage]]] = [
    (
        "I1 extents do not tile a disk: {place}: dext-",
        ["UPDATE inventory_extent SET size_gb = size_gb - 1 WHERE id = {free}"],
    ),
    (
        "I1 extents do not tile a disk: {place}: dext-",
        ["UPDATE inventory_extent SET size_gb = size_gb + 1 WHERE id = {free}"],
    ),
    (
        "I1 extents do not end where the disk does: {place}: 102 GB, extents up to 101 GB",
        ["UPDATE inventory_disk SET capacity_gb = 102 WHERE id = {disk}"],
    ),
    (
        "I1 the last GB of a disk is not its only SUPER extent: {place}: 101 GB, 0",
        ["UPDATE inventory_extent SET status = 6 WHERE status = 5 AND disk_id = {disk}"],
    ),
    (
        "I1 free neighbours are not merged: {place}: dext-{free:08x}, dext-{super:08x}",
        ["UPDATE inventory_extent SET status = 2, zeroed_generation = 0 WHERE id = {super}"],
    ),
    (
        "I2 an extent in use belongs to no replica: dext-{replica:08x} on {place}",
        ["DELETE FROM volumes_replica WHERE extent_id = {replica}"],
    ),
    (
        "I2 a replica lives in an extent that is not in use: mirr-{mirror:08x}: dext-{replica:08x}",
        ["UPDATE inventory_extent SET status = 4 WHERE id = {replica}"],
    ),
    (
        "I19 space in use was not certified zero before: dext-{replica:08x}: generation 7",
        ["UPDATE inventory_extent SET generation = 7 WHERE id = {replica}"],
    ),
    (
        "I19 free space is not certified zero: dext-{free:08x}: generation 7",
        ["UPDATE inventory_extent SET generation = 7 WHERE id = {free}"],
    ),
    (
        "I20 an extent that is being shredded is in use: job 1: dext-{replica:08x}",
        [job(Job.Kind.SHRED, "replica")],
    ),
    (
        "I3 two replicas on one server: mirr-{mirror:08x}: dext-{replica:08x}, dext-{other:08x}",
        ["UPDATE inventory_disk SET server_id = {server}"],
    ),
    (
        "I3 a replica is recorded on another server than its disk: dext-{replica:08x}: store-",
        ["UPDATE volumes_replica SET server_id = {third} WHERE extent_id = {replica}"],
    ),
    (
        "I4 too many usable replicas: mirr-{mirror:08x}: 3 of 2",
        ["UPDATE volumes_replica SET mirror_id = {mirror} WHERE extent_id = {alien}"],
    ),
    (
        "I4 too few usable replicas and no repair under way: mirr-{mirror:08x}: 1 of 2",
        [FAILED % "extent_id = {replica}", LONG_AGO],
    ),
    (
        "I5 a mirror has no good replica left: mirr-{mirror:08x} of {data}",
        [FAILED % "mirror_id = {mirror}"],
    ),
    (
        "I5 an attached volume's mirror has no replica in sync: mirr-{mirror:08x} of data (lvol-",
        [EPOCH, attached(Attachment.State.BOUND)],
    ),
    (
        (
            "I14 a replica is not as large as its mirror: mirr-{mirror:08x}: 9 GB, "
            "dext-{replica:08x}: 10 GB"
        ),
        ["UPDATE volumes_mirror SET size_gb = 9 WHERE id = {mirror}"],
    ),
    (
        "I14 mirrors do not tile their volume: {data}: mirr-{mirror:08x} begins at 1 GB",
        ["UPDATE volumes_mirror SET offset_gb = 1 WHERE id = {mirror}"],
    ),
    (
        "I14 mirrors do not add up to their volume: {data}: 26 GB, mirrors of 25 GB",
        ["UPDATE volumes_logicalvolume SET store_gb = 26 WHERE id = {volume}"],
    ),
    (
        "I14 a volume is not stored in its whole size: {data}: 24 GB, 25 GB stored",
        ["UPDATE volumes_logicalvolume SET capacity_gb = 24 WHERE id = {volume}"],
    ),
    (
        (
            "I22 a replica was placed on a disk or server that was not usable: "
            "dext-{replica:08x} on {place}"
        ),
        ["UPDATE inventory_disk SET priority = 4, priority_since = '2020-01-01' WHERE id = {disk}"],
    ),
    (
        "I8 an attached volume was never given an epoch: {data}",
        [attached(Attachment.State.BOUND)],
    ),
    (
        "I9 a transition has not exactly one job: {data} is binding with 0 jobs",
        [EPOCH, attached(Attachment.State.BINDING)],
    ),
    (
        "I9 a transition has not exactly one job: {data} is unbinding with 0 jobs",
        [EPOCH, attached(Attachment.State.UNBINDING), job(Job.Kind.ATTACH)],
    ),
    (
        "I9 an open job has no transition: job 1: detach of {data}",
        [job(Job.Kind.DETACH)],
    ),
    ("I10 a job is open beyond its deadline: job 1: rebuild x", [job(Job.Kind.REBUILD)]),
    (
        "I11 a snapshot is attached by itself: {data}",
        [
            EPOCH,
            attached(Attachment.State.BOUND),
            "UPDATE volumes_logicalvolume SET origin_id = {parent} WHERE id = {volume}",
        ],
    ),
    (
        "I12 a snapshot has a snapshot as its origin: {data} of {second}",
        ["UPDATE volumes_logicalvolume SET origin_id = {parent}"],
    ),
    (
        "I13 two volumes have one name: same: same (lvol-{volume:08x}), same (lvol-",
        ["UPDATE volumes_logicalvolume SET name = 'same'"],
    ),
    (
        "I13 a volume has a name that none may have: lvol-{volume:08x}: a volume's name is 1 to 64",
        ["UPDATE volumes_logicalvolume SET name = 'a/b' WHERE id = {volume}"],
    ),
    (
        "I13 a volume has a name that none may have: lvol-{volume:08x}: 'lvol-12' has another",
        ["UPDATE volumes_logicalvolume SET name = 'lvol-12' WHERE id = {volume}"],
    ),
    (
        "I17 a number is used twice: {mirror:08x}: mirr, snapshot node",
        ["UPDATE volumes_logicalvolume SET node_id = {mirror} WHERE id = {volume}"],
    ),
    (
        "I17 a number is beyond what its id space has given out: volume: ",
        ["UPDATE inventory_idspace SET next_id = 2 WHERE name = 'volume'"],
    ),
    (
        "I17 an id space is missing: 4 of 5 are there",
        ["DELETE FROM inventory_idspace WHERE name = 'event'"],
    ),
    (
        "I26 a disk is in service on a server that is not: {place} of {store}",
        ["UPDATE inventory_storageserver SET priority = 6 WHERE id = {server}"],
    ),
    (
        "I18 a reference leads nowhere: volumes_mirror {mirror}: volume_id 9999 is not in",
        ["UPDATE volumes_mirror SET volume_id = 9999 WHERE id = {mirror}"],
    ),
]
CANNOT_BE_DONE = {
    "sqlite": ["I13 two"],  # the column's own UNIQUE cannot be dropped
    "postgresql": ["I18 a"],  # neither can references, but by a superuser
}


@pytest.fixture
def world(call: Api, add_server: Callable[..., int]) -> World:
    """Two volumes in whole replicas, and the ids of the first one's parts."""
    for number in range(1, 4):
        add_server(gb=100, node_uuid=f"n{number}", host_name=f"store-{number}")
    volume = call("createLogicalVolume", lvolname="data", capacity=25, redundancy=2)
    parent = call("createLogicalVolume", lvolname="other", capacity=25, redundancy=2)
    mirror = Mirror.objects.filter(volume=volume).order_by("offset_gb")[0]
    one, other = mirror.replicas.order_by("pk")
    disk = one.extent.disk
    alien = Replica.objects.filter(mirror__volume=parent).exclude(
        server__in=[one.server_id, other.server_id]
    )[0]
    return {
        "volume": volume,
        "parent": parent,
        "mirror": mirror.pk,
        "replica": one.pk,
        "other": other.pk,
        "alien": alien.pk,
        "third": alien.server_id,
        "disk": disk.pk,
        "place": f"store-{one.server_id}:{disk.local_path} (pdsk-{disk.pk:08x})",
        "store": f"store-{one.server_id} (ssvr-{one.server_id:08x})",
        "data": f"data (lvol-{volume:08x})",
        "second": f"other (lvol-{parent:08x})",
        "server": one.server_id,
        "free": Extent.objects.get(disk=disk, status=Extent.Status.FREE).pk,
        "super": Extent.objects.get(disk=disk, status=Extent.Status.SUPER).pk,
        "head": call("registerHeadServer", ip_data=["10.0.7.1"]),
    }


@pytest.fixture
def bare(world: World) -> Iterator[None]:
    """Take the database's own guards away until the test is over."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = 1")
            kinds = "type = 'trigger' OR (type = 'index' AND sql LIKE 'CREATE UNIQUE%')"
            cursor.execute(f"SELECT type, name FROM sqlite_master WHERE {kinds}")  # noqa: S608
            for kind, name in cursor.fetchall():
                cursor.execute(f'DROP {kind} "{name}"')
        else:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _drop_guards_of_postgresql(cursor)
        yield
        transaction.set_rollback(True)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = 0")


def _drop_guards_of_postgresql(cursor: Any) -> None:
    cursor.execute(
        "SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " WHERE k.contype IN ('c', 'u', 'x')"
        " AND (c.relname LIKE 'inventory%' OR c.relname LIKE 'volumes%')"
    )
    for table, name in cursor.fetchall():
        cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    cursor.execute(
        "SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        " JOIN pg_class c ON c.oid = x.indrelid WHERE x.indisunique AND NOT x.indisprimary"
        " AND (c.relname LIKE 'inventory%' OR c.relname LIKE 'volumes%')"
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP INDEX "{name}"')
    for model in (Extent, Replica, LogicalVolume):
        cursor.execute(f"ALTER TABLE {model._meta.db_table} DISABLE TRIGGER USER")
    cursor.execute("ALTER TABLE inventory_disk DISABLE TRIGGER USER")
    cursor.execute("ALTER TABLE inventory_idspace DISABLE TRIGGER USER")


def fsck() -> tuple[int, str]:
    printed = StringIO()
    try:
        call_command("fsck", stdout=printed)
    except SystemExit as end:
        return int(str(end.code)), printed.getvalue()
    return 0, printed.getvalue()


def test_a_sound_database_prints_nothing(world: World) -> None:
    assert HeadServer.objects.exists()
    assert fsck() == (0, "")


@pytest.mark.parametrize(("line", "damage"), DAMAGE, ids=[line[:40] for line, _ in DAMAGE])
def test_damage_is_reported_with_its_rows(
    world: World, bare: None, line: str, damage: list[Damage]
) -> None:
    if line.startswith(tuple(CANNOT_BE_DONE[connection.vendor])):
        pytest.skip("this database cannot be damaged in this way")
    with connection.cursor() as cursor:
        for statement in damage:
            if isinstance(statement, str):
                cursor.execute(statement.format(**world))
            else:
                statement(world)

    status, printed = fsck()

    assert status == 1
    assert any(
        printed_line.startswith(line.format(**world)) for printed_line in printed.splitlines()
    )


def test_every_check_has_its_damage() -> None:
    damaged = {line.split(":")[0] for line, _ in DAMAGE}

    assert {check.rule for check in CHECKS} <= damaged


@pytest.mark.django_db(transaction=True)
def test_all_is_read_at_one_moment_without_keeping_writers_out(
    world: World, race: Callable[..., list[Any]]
) -> None:
    LogicalVolume.objects.filter(pk=world["volume"]).update(store_gb=24, capacity_gb=24)
    lines = violations()
    assert next(lines).startswith("I14 mirrors do not add up")

    server = StorageServer.objects.get(pk=world["server"])
    assert race(lambda: servers.set_priority(server, Priority.HALT)) == [True]

    assert list(lines) == []
    assert [line[:3] for line in violations()] == ["I14", "I26"]
