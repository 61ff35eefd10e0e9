"""Faults of disks: those of storage servers, and those that hold the nodes' own state."""

import random
from contextlib import suppress
from functools import partial
from pathlib import Path

from deploy.local import node_processes
from tests.engine.small_disk import SmallDisk
from tests.thrash.arena import STORAGES, Arena
from tests.thrash.faults import Profile, Undo, fault, tell

DISK = 3


@fault(Profile.DISK, lossy=True)
def disk_vanishes(arena: Arena, chance: random.Random) -> Undo:
    path = _disk(arena, chance)
    away = path.with_suffix(".away")
    path.rename(away)
    arena.note(f"{path.parent.name}: {path.name} vanishes")
    return partial(away.rename, path)


@fault(Profile.DISK, lossy=True)
def disk_is_declared_failed(arena: Arena, chance: random.Random) -> Undo:
    path = _disk(arena, chance)

    def look() -> int:
        rows = arena.call("listPhysicalDisks")
        return int(next(row["pdskid"] for row in rows if row["local_path"] == str(path)))

    return tell(arena, DISK, look, "smart")


@fault(Profile.DISK, weight=3)
def state_disk_is_full(arena: Arena, chance: random.Random) -> Undo:
    """A node has no room for what it has to remember."""
    node = chance.choice(sorted(arena.state_disks))
    arena.note(f"{node}: no room for its state")
    arena.state_disks[node].fill(pages_left=chance.choice([0, 0, 4]))
    return partial(_make_room, arena.state_disks[node])


def _disk(arena: Arena, chance: random.Random) -> Path:
    node = arena.place.node(chance.choice(STORAGES))
    return chance.choice(node_processes.disks(arena.place, node))


def _make_room(disk: SmallDisk) -> None:
    with suppress(FileNotFoundError):
        disk.make_room()
