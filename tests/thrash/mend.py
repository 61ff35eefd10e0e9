"""Switch all on again after a round, and say what is not yet as it has to be."""

import time
from collections.abc import Iterator
from contextlib import suppress
from xmlrpc.client import Fault as Refusal

from deploy.local import observe
from deploy.local.manager_processes import MANAGER
from deploy.local.node_processes import disks
from tests.thrash import database, orphans
from tests.thrash.arena import HEADS, NO_ANSWER, STORAGES, Arena
from tests.thrash.figures import Kind, Violation
from tests.thrash.volume import Volume

HEALS = 150
"""Seconds, on a busy machine, in which everything is whole again once all is switched on."""
BOUND = (1, 0)
OFFLINE, FAULTY = 4, 5
PAUSE = 0.5


def mend(arena: Arena) -> list[Violation]:
    """Switch all on and wait until it is whole; what is not in time."""
    began = time.monotonic()
    arena.power_on(*MANAGER, *HEADS, *STORAGES)
    found: list[Violation] = [Violation(Kind.STUCK, "nothing was asked yet")]
    while found and time.monotonic() < began + HEALS:
        time.sleep(PAUSE)
        try:
            found = _go_on(arena)
        except NO_ANSWER as error:
            found = [Violation(Kind.STUCK, f"the manager does not answer: {error!r}")]
    if not found:
        arena.figures.whole.append(time.monotonic() - began)
    return found


def _go_on(arena: Arena) -> list[Violation]:
    """Do what a user does after a bad day, and tell what is not whole yet."""
    _forget_what_is_gone(arena)
    _remove_leftovers(arena)
    for volume in arena.volumes:
        _see_to_attachment(arena, volume)
    _take_disks_back(arena)
    stuck = list(_unhealed(arena))
    if stuck:
        return [Violation(Kind.STUCK, text) for text in stuck]
    return [Violation(Kind.ORPHAN, text) for text in orphans.orphans(arena)]


def _unhealed(arena: Arena) -> Iterator[str]:
    """Say what users would still wait for."""
    for node in (*HEADS, *STORAGES):
        if (priority := arena.row(node)["priority"]) != observe.HIGH:
            yield f"{node} has priority {priority}"
    for disk in arena.call("listPhysicalDisks"):
        if disk["priority"] != observe.HIGH:
            yield f"disk {disk['local_path']} has priority {disk['priority']}"
    for row in arena.call("listLogicalVolumes"):
        if (row["bind_status"], row["bind_event"]) != BOUND:
            yield f"{row['lvolname']} is not attached: {row['bind_status']}, {row['bind_event']}"
        yield from _missing_replicas(arena, row["lvolname"], row["redundancy"])
    for job in arena.call("vastsky.listJobs"):
        yield f"{job['kind']} of {job['subject']}: {job['step']} {job['waiting']} {job['error']}"


def _missing_replicas(arena: Arena, name: str, redundancy: int) -> Iterator[str]:
    for mirror in observe.mirrors(arena.call, name):
        states = [replica["mirror_status"] for replica in mirror["components"]]
        if states != [observe.INSYNC] * redundancy:
            yield f"mirror {mirror['lvolid']} of {name} has replicas {states}"


def _see_to_attachment(arena: Arena, volume: Volume) -> None:
    """Use a volume where it is attached; attach it where it is not."""
    (row,) = arena.call("listLogicalVolumes", lvolname=volume.name)
    state = row["bind_status"], row["bind_event"]
    if state == BOUND:
        head = arena.head_of(row["hsvrid"])
        volume.use(head, arena.link(head, volume.name))
    elif not state[1]:
        if state[0]:  # it ended as an error
            arena.attempt("detachLogicalVolume", lvolname=volume.name)
        head = volume.head or HEADS[0]
        arena.attempt("attachLogicalVolume", lvolname=volume.name, hsvrid=arena.server_id(head))


def _forget_what_is_gone(arena: Arena) -> None:
    """Forget snapshots whose making was given up, and delete those that are broken."""
    names = {row["lvolname"] for row in arena.call("listLogicalVolumes")}
    if any(job["kind"] in ("snapshot", "unsnapshot") for job in arena.call("vastsky.listJobs")):
        return
    broken = database.broken_snapshots(arena)
    for volume in arena.volumes:
        for name in sorted(volume.snapshots):
            if name not in names:
                del volume.snapshots[name]
            elif name in broken and arena.attempt("deleteLogicalVolume", lvolname=name):
                arena.figures.count("snapshots_broken")
                del volume.snapshots[name]


def _remove_leftovers(arena: Arena) -> None:
    """Remove what an operation left that came to no end."""
    ours = {volume.name for volume in arena.volumes}
    ours |= {name for volume in arena.volumes for name in volume.snapshots}
    for row in arena.call("listLogicalVolumes"):
        name = row["lvolname"]
        if name in ours or row["bind_event"]:
            continue
        if not row["associated_to"]:
            arena.attempt("detachLogicalVolume", lvolname=name)
        arena.attempt("deleteLogicalVolume", lvolname=name)


def _take_disks_back(arena: Arena) -> None:
    """Once nothing lives on a disk that was given up, let it come as a new one."""
    for row in arena.call("listPhysicalDisks"):
        if row["priority"] != FAULTY:
            continue
        node = next(
            name
            for name in STORAGES
            if row["local_path"] in map(str, disks(arena.place, arena.place.node(name)))
        )
        with suppress(Refusal):  # replicas live there still
            arena.call("deletePhysicalDisk", pdskid=row["pdskid"])
            arena.kill(node)
            arena.power_on(node)
