"""What users do meanwhile: move volumes, take snapshots and delete them, make and remove others."""

import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from deploy.local import observe
from deploy.local.nbd import NbdClient
from tests.thrash.arena import HEADS, NO_ANSWER, Arena
from tests.thrash.blocks import BLOCK
from tests.thrash.figures import Kind, Violation
from tests.thrash.volume import Volume

Operation = Callable[[Arena, random.Random], list[Violation]]
LARGEST_WITH_SNAPSHOTS = 4
"""GB: a snapshot takes as much room as its origin."""
SNAPSHOTS = 2
DECIDED = 120
"""Seconds in which a snapshot is there or is given up."""
_numbers = count(1)


def move(arena: Arena, chance: random.Random) -> list[Violation]:
    """Detach a volume and attach it to the other head."""
    volume = chance.choice(arena.volumes)
    heir = next(head for head in HEADS if head != volume.head)
    if not volume.rest():
        return [Violation(Kind.STUCK, f"the writers of {volume.name} do not come to rest")]
    with suppress(*NO_ANSWER):
        if arena.attempt("detachLogicalVolume", lvolname=volume.name) and arena.attempt(
            "attachLogicalVolume", lvolname=volume.name, hsvrid=arena.server_id(heir)
        ):
            arena.figures.count("moves")
            volume.use(heir, arena.link(heir, volume.name))
    return []


def snapshot(arena: Arena, chance: random.Random) -> list[Violation]:
    """Take a snapshot of a volume that is written; an old one makes room for it."""
    small = [v for v in arena.volumes if v.capacity <= LARGEST_WITH_SNAPSHOTS]
    volume = chance.choice(small)
    if len(volume.snapshots) >= SNAPSHOTS:
        forget(arena, volume, chance.choice(sorted(volume.snapshots)))
        return []
    name = f"{volume.name}.{next(_numbers)}"
    with volume.oracle.snapshot() as content:
        volume.snapshots[name] = content
        members = {"origin_lvolname": volume.name, "snapshot_lvolname": name}
        if arena.attempt("createSnapshot", **members):
            arena.figures.count("snapshots")
            return []
        # Whether there is one, and of which instant, is known once its job is over.
        with suppress(observe.Failed):
            arena.wait(lambda: _is_decided(arena, name), f"what became of {name}", DECIDED)
    return []


def _is_decided(arena: Arena, name: str) -> bool:
    """Tell whether a snapshot is there, or is not, and no job is at it any more."""
    with suppress(*NO_ANSWER):
        kinds = {job["kind"] for job in arena.call("vastsky.listJobs")}
        return "snapshot" not in kinds or not exists(arena, name)
    return False


def forget(arena: Arena, volume: Volume, name: str) -> None:
    """Delete a snapshot."""
    if arena.attempt("deleteLogicalVolume", lvolname=name):
        del volume.snapshots[name]


def churn(arena: Arena, chance: random.Random) -> list[Violation]:
    """Make a volume where others were: it reads as zero. Write it and delete it again."""
    name, head = f"fresh-{next(_numbers)}", chance.choice(HEADS)
    found: list[Violation] = []
    with suppress(*NO_ANSWER):
        if not arena.attempt("createLogicalVolume", lvolname=name, capacity=1, redundancy=2):
            return []
        if not arena.attempt("attachLogicalVolume", lvolname=name, hsvrid=arena.server_id(head)):
            return []
        with NbdClient(arena.link(head, name), timeout=60) as device:
            for n in range(64):
                offset = n * (16 << 20)
                if any(device.read(offset, 16 * BLOCK)):
                    found.append(Violation(Kind.LOST, f"{name} is new and holds data at {offset}"))
                device.write(offset, f"{name} {n}".encode().ljust(16 * BLOCK, b"\xa5"))
        arena.attempt("detachLogicalVolume", lvolname=name)
        arena.attempt("deleteLogicalVolume", lvolname=name)
    return found


def exists(arena: Arena, name: str) -> bool:
    return any(row["lvolname"] == name for row in arena.call("listLogicalVolumes"))


OPERATIONS: tuple[Operation, ...] = (move, move, snapshot, snapshot, churn)
