"""What may go wrong: each fault begins when it is called and ends with what it returns."""

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from tests.thrash.arena import NO_ANSWER, Arena

Undo = Callable[[], object]


class Profile(StrEnum):
    """A choice among the faults."""

    ALL = "all"
    STORAGE = "storage"
    HEAD = "head"
    MANAGER = "manager"
    DISK = "disk"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault, and whose profile it belongs to.

    `lossy`: replicas are given up by it. There is one such at most in a round, so that there is
    always another place to make them anew.
    """

    name: str
    profile: Profile
    begin: Callable[[Arena, random.Random], Undo]
    weight: int
    lossy: bool


FAULTS: list[InjectedFault] = []


def fault(
    profile: Profile, *, weight: int = 2, lossy: bool = False
) -> Callable[[Callable[[Arena, random.Random], Undo]], Callable[[Arena, random.Random], Undo]]:
    """Enter a function as a fault."""

    def enter(
        begin: Callable[[Arena, random.Random], Undo],
    ) -> Callable[[Arena, random.Random], Undo]:
        FAULTS.append(InjectedFault(begin.__name__, profile, begin, weight, lossy))
        return begin

    return enter


def of_profile(profile: Profile) -> list[InjectedFault]:
    """Choose the faults of a profile; PostgreSQL's are those of all, and its own."""
    if profile == Profile.POSTGRES:
        return FAULTS
    if profile == Profile.ALL:
        return [one for one in FAULTS if one.profile != Profile.POSTGRES]
    return [one for one in FAULTS if one.profile == profile]


def missing(arena: Arena) -> dict[str, str]:
    """Name the faults that cannot be had on this machine, and why."""
    lacks = {}
    if arena.clock is None:
        lacks["clock_jumps"] = "no gcc"
    if not arena.state_disks:
        lacks["state_disk_is_full"] = "this user may not mount"
    if arena.database is None:
        lacks["database_restarts"] = "the database is SQLite"
    return lacks


def stop(arena: Arena, part: str, *, main: bool = False) -> Undo:
    """Stop all processes of a part, or its main process; they go on at the end."""
    found = arena.find(part)[: 1 if main else None]
    arena.send(found, signal.SIGSTOP)
    return partial(arena.send, found, signal.SIGCONT)


def kill_one(arena: Arena, part: str, chance: random.Random) -> Undo:
    """Kill one process of a part, its agent or one of its engine's; the agent is started anew."""
    if found := arena.find(part):
        arena.send([chance.choice(found)], signal.SIGKILL)
    return partial(arena.power_on, part)


def tell(arena: Arena, target: int, look: Callable[[], int], reason: str) -> Undo:
    """Tell the manager of a failure, once it answers: other faults do not wait for that."""
    arena.background.submit(_tell, arena, target, look, reason)
    return nothing


def _tell(arena: Arena, target: int, look: Callable[[], int], reason: str) -> None:
    with suppress(*NO_ANSWER):
        arena.attempt("notifyFailure", target=target, targetid=look(), reason=reason)


def nothing() -> None:
    """End a fault that leaves nothing to be undone."""
