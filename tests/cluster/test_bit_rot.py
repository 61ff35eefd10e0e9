"""A disk changes what it keeps: a scrub notices, tells it, and mends what it surely can."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import World

GB, MIB = 1 << 30, 1 << 20
GOOD, EVIL = b"GOOD" * 1024, b"EVIL" * 1024


def replicas(world: World, name: str) -> list[tuple[Path, int, int]]:
    """Where the only mirror's replicas lie: disk, byte, dextid."""
    tree = world.call("showLogicalVolume", lvolname=name)
    leaves: list[dict[str, Any]] = []
    while tree["components"]:
        leaves = tree["components"]
        tree = leaves[0]
    paths = {disk["pdskid"]: disk["local_path"] for disk in world.call("listPhysicalDisks")}
    return [
        (
            Path(paths[leaf["lvolspec"]["pdskid"]]),
            leaf["lvolspec"]["offset"] * GB,
            leaf["lvolid"],
        )
        for leaf in leaves
    ]


def read(path: Path, offset: int) -> bytes:
    with path.open("rb") as disk:
        disk.seek(offset)
        return disk.read(4096)


def rot(path: Path, offset: int) -> None:
    with path.open("r+b") as disk:
        disk.seek(offset)
        disk.write(EVIL)
        os.fsync(disk.fileno())


def unequal(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.call("vastsky.listUnequalBlocks")
    return found


def is_over(world: World, eventid: int) -> bool:
    return eventid not in {job["eventid"] for job in world.call("vastsky.listJobs")}


def scrub(world: World, name: str) -> None:
    job = world.call("vastsky.scrubVolume", lvolname=name)
    world.wait(lambda: is_over(world, job), "the end of a scrub")


def prepare(world: World, redundancy: int, *, attached: bool) -> list[tuple[Path, int, int]]:
    world.create("rot", capacity=2, redundancy=redundancy)
    world.attach("rot")
    with world.open("rot") as device:
        for chunk in range(4):
            device.write(chunk * MIB, GOOD)
        device.flush()
    if not attached:
        world.detach("rot")
    return replicas(world, "rot")


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "detached"])
def test_of_three_replicas_the_rotten_one_is_mended(world: World, *, attached: bool) -> None:
    places = prepare(world, 3, attached=attached)
    path, offset, _ = places[1]
    rot(path, offset + MIB)

    scrub(world, "rot")
    world.wait(lambda: not unequal(world), "mended")

    assert {read(path, offset + MIB) for path, offset, _ in places} == {GOOD}
    (event,) = [event for event in world.call("listEvents", all=1) if event["event"] == 1][:1]
    assert event["event_status"] == 3


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "detached"])
def test_of_two_replicas_the_operator_chooses(world: World, *, attached: bool) -> None:
    places = prepare(world, 2, attached=attached)
    path, offset, _ = places[0]
    rot(path, offset + 2 * MIB)

    scrub(world, "rot")
    (told,) = unequal(world)
    assert (told["lvolname"], told["offset"]) == ("rot", str(2 * MIB))
    assert len({content["digest"] for content in told["contents"]}) == 2
    assert read(path, offset + 2 * MIB) == EVIL

    world.call("vastsky.mendBlock", blockid=told["blockid"], dextid=places[1][2])
    world.wait(lambda: not unequal(world), "mended")
    assert {read(path, offset + 2 * MIB) for path, offset, _ in places} == {GOOD}


def test_rot_in_a_snapshots_store_is_mended_and_the_snapshot_reads_what_it_kept(
    world: World,
) -> None:
    prepare(world, 3, attached=True)
    world.call("createSnapshot", origin_lvolname="rot", snapshot_lvolname="kept")
    with world.open("rot") as device:
        device.write(0, b"NEWS" * 1024)
    places = replicas(world, "kept")
    spot = next(
        at for at in range(0, 64 * MIB, 4096) if read(places[0][0], places[0][1] + at) == GOOD
    )
    path, offset, _ = places[2]
    rot(path, offset + spot)

    scrub(world, "kept")
    world.wait(lambda: not unequal(world), "mended")

    assert {read(path, offset + spot) for path, offset, _ in places} == {GOOD}
    with world.open("kept") as snapshot:
        assert snapshot.read(0, 4096) == GOOD
