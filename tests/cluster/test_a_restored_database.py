"""The manager's database becomes an older one while volumes are in use; its nodes give it back."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy import postgres
from deploy.local import observe
from deploy.local.cluster import LocalCluster
from deploy.local.ledger import BLOCK, Ledger
from deploy.local.place import choose
from tests.cluster.conftest import HASTE, LIMITS, free_port
from tests.cluster.world import World, running_world
from tests.engine.checked_load import CheckedLoad

BOUND = (1, 0)
REPLICA = 4
STALL = 5.0
"""Seconds that a write may take at the worst, whatever becomes of the manager."""
MANAGER = ("web", "worker", "beat")
GB = 1 << 30
CONNECTED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A cluster of its own on each database."""
    home = tmp_path_factory.mktemp("restored")
    with ExitStack() as stack:
        url = ""
        if request.param == "postgresql":
            binaries = postgres.binaries()
            if binaries is None:
                pytest.skip("PostgreSQL is not installed here")
            url = stack.enter_context(postgres.server(binaries))
        policy = {**HASTE, "DATABASE_URL": url}
        cluster = LocalCluster(choose(str(home), str(free_port())), policy, LIMITS)
        yield stack.enter_context(running_world(cluster))


@pytest.fixture
def world(own: World) -> Iterator[World]:
    yield own
    own.mend_and_check()
    assert _fsck(own) == ""


def test_a_backup_is_restored_under_a_writer_who_does_not_notice(
    world: World, tmp_path: Path
) -> None:
    before = _life_before(world)
    with CheckedLoad(world.place.links / "old-used", 64, stride=4) as load:
        load.wait_for(50)
        _manage(world, "backup", str(tmp_path / "dump"))
        dumped = _names(world)
        after = _life_goes_on(world, before)
        known = _names(world)
        with CheckedLoad(world.place.links / "new-used", 64, stride=4) as newer:
            newer.wait_for(50)
            with _without_manager(world):
                _manage(world, "restore", str(tmp_path / "dump"), "--replace")
            assert "backup" in _recovery(world)
            for one in (load, newer):
                one.wait_for(200)
            shown = _manage(world, "recover")
            assert "new-used" in shown
            assert "deleted since" in shown
            assert set(_names(world)) == set(dumped), "it shows, and changes nothing"

            _manage(world, "recover", "--apply")

            assert _recovery(world) == ""
            for one in (load, newer):
                one.wait_for(200)

    for one in (load, newer):
        assert one.errors == 0
        assert one.longest < STALL
        assert one.lost(one.where) == []
    assert _names(world) == known
    _every_byte_is_right(world, {**before, **after})
    world.wait(lambda: _is_whole(world), "all replicas are in sync", 90)
    assert _fsck(world) == ""
    world.wait(world.zeroed, "all free space is zero again", 90)
    _a_stranger_reads_zeroes(world, {**before, **after})


def test_a_database_that_was_copied_back_by_hand_is_noticed(world: World, tmp_path: Path) -> None:
    with _without_manager(world):
        _copy(world, tmp_path / "copy")
    world.create("newer")
    world.attach("newer")
    with CheckedLoad(world.place.links / "newer", 64, stride=4) as load:
        load.wait_for(50)
        with _without_manager(world):
            _copy_back(world, tmp_path / "copy")
        assert "newer" not in _names(world)

        world.wait(lambda: _recovery(world) != "", "the manager notices that it is the older one")
        load.wait_for(200)
        _manage(world, "recover", "--apply")

        load.wait_for(200)
    assert load.errors == 0
    assert load.longest < STALL
    assert load.lost(load.where) == []
    assert world.state("newer") == BOUND
    assert _fsck(world) == ""


# -- what happens ---------------------------------------------------------------------------------


def _life_before(world: World) -> dict[str, Ledger]:
    """Make what the backup knows, and write to it."""
    ledgers = {}
    for name in ("old-used", "old-idle", "old-moved", "old-gone"):
        world.create(name)
        world.attach(name)
        # The load writes at the beginning of what is used.
        ledgers[name] = world.fill(name) if name != "old-used" else Ledger()
    for name in ("old-idle", "old-moved", "old-gone"):
        world.detach(name)
    return ledgers


def _life_goes_on(world: World, before: dict[str, Ledger]) -> dict[str, Ledger]:
    """Create, attach, freeze, move and delete after the backup."""
    world.delete("old-gone")
    before.pop("old-gone")
    world.attach("old-idle")
    world.call("createSnapshot", origin_lvolname="old-idle", snapshot_lvolname="new-frozen")
    ledgers = {"new-frozen": before["old-idle"].copy()}
    before["old-idle"] = world.fill("old-idle", 48)
    for name in ("new-used", "new-idle"):
        world.create(name)
        world.attach(name)
        ledgers[name] = world.fill(name) if name == "new-idle" else Ledger()
    world.detach("new-idle")
    for name in ("old-moved", "old-used"):
        _move_a_replica(world, name)
    return ledgers


def _move_a_replica(world: World, name: str) -> None:
    moved = observe.replicas(world.call, name)[0]["lvolid"]
    world.call("notifyFailure", target=REPLICA, targetid=moved)
    world.wait(lambda: moved not in _replicas(world, name), f"a replica of {name} is replaced")
    world.wait(lambda: world.healed(name), f"{name} is whole", 90)


@contextmanager
def _without_manager(world: World) -> Iterator[None]:
    for part in MANAGER:
        world.cluster.kill(part)
    yield
    world.repair()


def _copy(world: World, copy: Path) -> None:
    """Copy the database of a manager that is stopped, as its administrator does."""
    if url := world.cluster.environment["DATABASE_URL"]:
        _administer(url, "DROP DATABASE IF EXISTS copy", "CREATE DATABASE copy TEMPLATE postgres")
        return
    with closing(sqlite3.connect(_file(world))) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _copy_back(world: World, copy: Path) -> None:
    if url := world.cluster.environment["DATABASE_URL"]:
        _administer(url, "DROP DATABASE postgres", "CREATE DATABASE postgres TEMPLATE copy")
        return
    for end in ("-wal", "-shm"):
        _file(world).with_name(_file(world).name + end).unlink(missing_ok=True)
    shutil.copy(copy, _file(world))


def _file(world: World) -> Path:
    return world.place.home / "vastsky.sqlite3"


def _administer(url: str, *statements: str) -> None:
    """Tell PostgreSQL to do something once those who were killed are gone from it."""
    with psycopg.connect(url.replace("/postgres?", "/template1?"), autocommit=True) as connection:
        observe.wait(
            lambda: connection.execute(CONNECTED).fetchone() is None, "nobody is connected", 20
        )
        for statement in statements:
            connection.execute(statement.encode())


# -- what is asked --------------------------------------------------------------------------------


def _manage(world: World, *words: str) -> str:
    done = world.cluster.manage(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _fsck(world: World) -> str:
    checked = world.cluster.manage("fsck", "--nodes")
    return checked.stdout + checked.stderr


def _recovery(world: World) -> str:
    return str(world.call("vastsky.clusterInfo")["recovery"])


def _names(world: World) -> dict[str, Any]:
    """Tell each volume with its number, state and kin."""
    told = ("lvolid", "bind_status", "capacity", "redundancy", "associated_to")
    return {
        volume["lvolname"]: {member: volume[member] for member in told}
        for volume in world.call("listLogicalVolumes")
    }


def _replicas(world: World, name: str) -> list[int]:
    return [replica["lvolid"] for replica in observe.replicas(world.call, name)]


def _is_whole(world: World) -> bool:
    return all(world.healed(name) for name in _names(world))


def _every_byte_is_right(world: World, ledgers: dict[str, Ledger]) -> None:
    for name in ("old-moved", "new-idle"):
        world.attach(name)
    for name, ledger in ledgers.items():
        assert world.verify(name, ledger), name


def _a_stranger_reads_zeroes(world: World, ledgers: dict[str, Ledger]) -> None:
    """Let a new volume take all the room there is: nowhere in it is what somebody else wrote."""
    free = min(server["available"] for server in world.call("listStorageServers"))
    world.create("stranger", capacity=free // 2)
    world.attach("stranger")
    written = {offset % GB for ledger in ledgers.values() for offset in ledger.digests}
    with world.open("stranger") as device:
        for first in range(0, device.size, GB):
            for offset in {*written, 0, BLOCK // 2}:
                assert not any(device.read(first + offset, 4096)), (first, offset)
