"""Faults of the manager, its broker, its database and its clock; and of everything at once."""

import random
import socket
from functools import partial

from deploy.local.manager_processes import MANAGER
from tests.thrash.arena import HEADS, STORAGES, Arena
from tests.thrash.faults import Profile, Undo, fault, nothing, stop

HOUR = 3600


@fault(Profile.MANAGER, weight=4)
def part_of_the_manager_dies(arena: Arena, chance: random.Random) -> Undo:
    part = chance.choice(MANAGER)
    arena.kill(part)
    return partial(arena.power_on, part)


@fault(Profile.MANAGER)
def part_of_the_manager_hangs(arena: Arena, chance: random.Random) -> Undo:
    return stop(arena, chance.choice(MANAGER))


@fault(Profile.MANAGER, weight=1)
def manager_loses_power(arena: Arena, chance: random.Random) -> Undo:
    for part in MANAGER:
        arena.kill(part)
    return partial(arena.power_on, *MANAGER)


@fault(Profile.MANAGER)
def broker_is_emptied(arena: Arena, chance: random.Random) -> Undo:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(arena.place.broker_socket))
            connection.sendall(b"FLUSHALL\r\n")
            arena.note(f"FLUSHALL: {connection.recv(64)!r}")
    except OSError as error:
        arena.note(f"FLUSHALL: {error}")
    return nothing


@fault(Profile.MANAGER)
def clock_jumps(arena: Arena, chance: random.Random) -> Undo:
    assert arena.clock is not None
    seconds = chance.choice([-HOUR, HOUR])
    arena.note(f"the clock is wrong by {seconds} s")
    arena.clock.write_text(str(seconds))
    return partial(arena.clock.write_text, "0")


@fault(Profile.POSTGRES, weight=8)
def database_restarts(arena: Arena, chance: random.Random) -> Undo:
    assert arena.database is not None
    arena.note("the database stops")
    arena.database.stop()
    return arena.database.start


@fault(Profile.MANAGER, weight=1)
def everything_loses_power(arena: Arena, chance: random.Random) -> Undo:
    parts = chance.sample([*HEADS, *STORAGES, *MANAGER], len(HEADS + STORAGES + MANAGER))
    for part in parts:
        arena.kill(part)
    back = [*MANAGER, *(part for part in parts if part not in MANAGER)]
    return partial(arena.power_on, *back)
