"""Faults of storage servers and heads: power, processes, what is said of them."""

import random
import signal
import time
from contextlib import suppress
from functools import partial

from deploy.local import observe
from tests.thrash.arena import (
    HEADS,
    HIGH,
    NO_ANSWER,
    STORAGES,
    Arena,
    is_engine,
    name_of,
)
from tests.thrash.faults import Profile, Undo, fault, kill_one, nothing, stop, tell
from tests.thrash.volume import Volume

HEAD, STORAGE, REPLICA = 1, 2, 4
FENCED = 40
"""Seconds in which a head that was declared failed loses its volumes, on a busy machine."""


@fault(Profile.STORAGE, weight=4)
def storage_loses_power(arena: Arena, chance: random.Random) -> Undo:
    node = chance.choice(STORAGES)
    arena.kill(node)
    arena.background.submit(_time_to_offline, arena, node)
    return partial(arena.power_on, node)


@fault(Profile.STORAGE)
def process_of_storage_dies(arena: Arena, chance: random.Random) -> Undo:
    return kill_one(arena, chance.choice(STORAGES), chance)


@fault(Profile.STORAGE, weight=3)
def storage_hangs(arena: Arena, chance: random.Random) -> Undo:
    return stop(arena, chance.choice(STORAGES))


@fault(Profile.STORAGE)
def data_server_hangs(arena: Arena, chance: random.Random) -> Undo:
    found = arena.find(chance.choice(STORAGES), is_engine)
    arena.send(found, signal.SIGSTOP)
    return partial(arena.send, found, signal.SIGCONT)


@fault(Profile.STORAGE, weight=1)
def all_storage_loses_power(arena: Arena, chance: random.Random) -> Undo:
    order = chance.sample(STORAGES, len(STORAGES))
    for node in order:
        arena.kill(node)
    return partial(arena.power_on, *order)


@fault(Profile.STORAGE, weight=1)
def all_storage_hangs(arena: Arena, chance: random.Random) -> Undo:
    undo = [stop(arena, node) for node in STORAGES]
    return lambda: [go() for go in undo]


@fault(Profile.STORAGE)
def storage_is_reported(arena: Arena, chance: random.Random) -> Undo:
    node, reason = chance.choice(STORAGES), chance.choice(["restarted", "connection"])
    tell(arena, STORAGE, partial(arena.server_id, node), reason)
    return partial(_start_anew, arena, node)


@fault(Profile.STORAGE, lossy=True)
def storage_is_declared_failed(arena: Arena, chance: random.Random) -> Undo:
    node = chance.choice(STORAGES)
    tell(arena, STORAGE, partial(arena.server_id, node), "smoke")
    return partial(_start_anew, arena, node)


@fault(Profile.STORAGE, lossy=True)
def replica_is_reported(arena: Arena, chance: random.Random) -> Undo:
    volume, reason = chance.choice(arena.volumes), chance.choice(["io", "connection", "mould"])
    which = chance.random()

    def look() -> int:
        replicas = observe.replicas(arena.call, volume.name)
        return int(replicas[int(which * len(replicas))]["lvolid"])

    return tell(arena, REPLICA, look, reason)


@fault(Profile.HEAD, weight=3)
def head_loses_power(arena: Arena, chance: random.Random) -> Undo:
    node = chance.choice(HEADS)
    arena.kill(node)
    return partial(arena.power_on, node)


@fault(Profile.HEAD, weight=3)
def process_of_head_dies(arena: Arena, chance: random.Random) -> Undo:
    return kill_one(arena, chance.choice(HEADS), chance)


@fault(Profile.HEAD, weight=3)
def head_process_dies(arena: Arena, chance: random.Random) -> Undo:
    node = chance.choice(HEADS)
    arena.send(arena.find(node, lambda p: name_of(p).startswith("vas-")), signal.SIGKILL)
    return partial(arena.power_on, node)


@fault(Profile.HEAD)
def head_hangs(arena: Arena, chance: random.Random) -> Undo:
    return stop(arena, chance.choice(HEADS), main=chance.random() < 0.3)


@fault(Profile.HEAD, weight=4)
def head_is_declared_failed(arena: Arena, chance: random.Random) -> Undo:
    """Its volumes go to the other head while it hangs, is dead, or writes on."""
    gone, heir = chance.sample(HEADS, 2)
    state = chance.choice(["hangs", "dies", "lives"])
    arena.note(f"{gone} is declared failed and {state}; {heir} takes over")
    undo = stop(arena, gone) if state == "hangs" else nothing
    if state == "dies":
        arena.kill(gone)
    arena.background.submit(_take_over, arena, gone, heir)

    def come_back() -> None:
        undo()
        _start_anew(arena, gone)

    return come_back


def _take_over(arena: Arena, gone: str, heir: str) -> None:
    with arena.operating, suppress(*NO_ANSWER, observe.Failed):
        members = {"target": HEAD, "targetid": arena.server_id(gone), "reason": "smoke"}
        arena.attempt("notifyFailure", **members)
        taken = [volume for volume in arena.volumes if volume.head == gone]
        arena.wait(lambda: all(_is_detached(arena, volume) for volume in taken), "fenced", FENCED)
        hsvrid = arena.server_id(heir)
        for volume in taken:
            if arena.attempt("attachLogicalVolume", lvolname=volume.name, hsvrid=hsvrid):
                arena.figures.count("moves")
                volume.use(heir, arena.link(heir, volume.name))


def _is_detached(arena: Arena, volume: Volume) -> bool:
    return arena.state(volume.name) == (0, 0)


def _start_anew(arena: Arena, node: str) -> None:
    """Start a node's agent anew: so the manager takes it back; what it runs goes on."""
    arena.send(arena.find(node, lambda p: not is_engine(p)), signal.SIGKILL)
    arena.cluster.launch(node)


def _time_to_offline(arena: Arena, node: str) -> None:
    """Take the time until the manager says that a dead server is out; it may be back before."""
    began = time.monotonic()
    while not arena.cluster.lives(node):
        with suppress(*NO_ANSWER):
            if arena.row(node)["priority"] != HIGH:
                arena.figures.offline.append(time.monotonic() - began)
                return
        time.sleep(0.2)
