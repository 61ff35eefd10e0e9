"""A whole run: a cluster is started, thrashed round after round, emptied and stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import postgres
from deploy.local.cluster import LocalCluster
from deploy.local.place import Place, choose
from deploy.postgres import PostgreSQL
from tests.cluster import wall_clock
from tests.cluster.conftest import HASTE, free_port
from tests.cluster.world import running_world
from tests.engine.small_disk import SmallDisk
from tests.thrash import faults, faults_of_disks, faults_of_nodes, faults_of_the_manager, rounds
from tests.thrash.arena import HEADS, Arena
from tests.thrash.faults import InjectedFault, Profile
from tests.thrash.figures import Figures, Kind, Violation
from tests.thrash.orphans import leftovers
from tests.thrash.schedule import plan
from tests.thrash.volume import Volume

ENTERED = (faults_of_disks, faults_of_nodes, faults_of_the_manager)
"""Modules that enter their faults in the table as they are imported."""
POLICY = {**HASTE, "VASTSKY_ATTACH_SECONDS": "60"}
LIMITS = {"shred_mib_per_s": 400, "rebuild_mib_per_s": 400}
DISK_GB = 24
STATE_MIB = 24
VOLUMES = (("books", 12, 3), ("mail", 2, 2), ("wiki", 4, 3))
ENDS = 60


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is asked of a run."""

    home: Path
    seconds: float
    seed: int
    profile: Profile = Profile.ALL
    only: tuple[str, ...] = ()


Say = Callable[[str], None]


def thrash(wish: RunOptions, say: Say = print) -> tuple[Figures, list[Violation]]:
    """Thrash a cluster of its own in a folder; its figures, and what was found in the last round.

    The run ends with the first round in which something was found.
    """
    figures = Figures(wish.seed, wish.profile)
    deadline = time.monotonic() + wish.seconds
    with _arena(wish, figures) as arena:
        figures.skipped = faults.missing(arena)
        chosen = _faults(wish, arena)
        found: list[Violation] = []
        while not found and time.monotonic() < deadline:
            found = _round(arena, chosen, say)
        found = found or _empty(arena)
    outlived = leftovers(arena)
    _count(figures, [*found, *(Violation(Kind.ORPHAN, text) for text in outlived)])
    return figures, found


def _faults(wish: RunOptions, arena: Arena) -> list[InjectedFault]:
    missing = faults.missing(arena)
    chosen = [one for one in faults.of_profile(wish.profile) if one.name not in missing]
    return [one for one in chosen if not wish.only or one.name in wish.only]


def _round(arena: Arena, chosen: list[InjectedFault], say: Say) -> list[Violation]:
    figures = arena.figures
    figures.rounds += 1
    began, writes = time.monotonic(), figures.writes
    planned = plan(figures.seed, figures.rounds, chosen)
    arena.note(f"== round {figures.rounds}")
    found = rounds.run(arena, planned)
    names = ", ".join(strike.fault.name for strike in planned.strikes)
    say(
        f"round {figures.rounds}: {time.monotonic() - began:.0f} s,"
        f" {figures.writes - writes} writes: {names}: {len(found) or 'all right'}"
    )
    return found


def _count(figures: Figures, found: list[Violation]) -> None:
    for finding in found:
        figures.found[finding.kind] += 1


def _empty(arena: Arena) -> list[Violation]:
    """Delete all volumes; whatever they needed is free again, and zero."""
    _end_writers(arena)
    try:
        arena.tidy()
        arena.wait(lambda: not arena.orphans(), "no orphans on any node", ENDS)
        arena.wait(arena.zeroed, "all space is free and zero again", ENDS)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what was found
        return [Violation(Kind.STUCK, f"the cluster cannot be emptied: {error!r}")]
    return []


def _end_writers(arena: Arena) -> None:
    for volume in arena.volumes:
        volume.end()


@contextmanager
def _arena(wish: RunOptions, figures: Figures) -> Iterator[Arena]:
    place = choose(str(wish.home), str(free_port()), DISK_GB, len(HEADS))
    with ExitStack() as stack:
        shim = wall_clock.shim(place.home)
        database = stack.enter_context(_database(wish.profile))
        url = {"DATABASE_URL": database.url} if database else {}
        disks = stack.enter_context(_small_disks(place))
        cluster = LocalCluster(place, {**POLICY, **shim, **url}, LIMITS)
        world = stack.enter_context(running_world(cluster))
        arena = Arena(world.cluster, figures)
        stack.callback(arena.close)
        arena.database, arena.state_disks = database, disks
        arena.clock = Path(shim[wall_clock.OFFSET_FILE]) if shim else None
        _make_volumes(arena)
        stack.callback(_end_writers, arena)
        yield arena


def _make_volumes(arena: Arena) -> None:
    for n, (name, capacity, redundancy) in enumerate(VOLUMES):
        volume = Volume(name, capacity, redundancy, arena.figures.seed, arena.figures)
        head = HEADS[n % len(HEADS)]
        arena.create(name, capacity=capacity, redundancy=redundancy)
        arena.call("attachLogicalVolume", lvolname=name, hsvrid=arena.server_id(head))
        volume.use(head, arena.link(head, name))
        volume.start()
        arena.volumes.append(volume)


@contextmanager
def _database(profile: Profile) -> Iterator[PostgreSQL | None]:
    """Run a PostgreSQL where the profile wants one; SystemExit where there is none."""
    if profile != Profile.POSTGRES:
        yield None
        return
    folder = postgres.binaries()
    if folder is None:
        raise SystemExit("PostgreSQL is not installed")
    with PostgreSQL(folder) as server:
        yield server


@contextmanager
def _small_disks(place: Place) -> Iterator[dict[str, SmallDisk]]:
    """Mount a small file system for the state of each node, where we may mount."""
    disks: dict[str, SmallDisk] = {}
    try:
        for node in place.nodes():
            folder = place.folder(node) / "state"
            folder.mkdir(mode=0o700, parents=True)
            disks[node.name] = SmallDisk(folder, STATE_MIB)
    except PermissionError:
        assert not disks
    try:
        yield disks
    finally:
        for disk in disks.values():
            disk.unmount()
