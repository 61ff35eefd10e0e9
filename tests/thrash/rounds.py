"""One round: faults strike while volumes are written, then all is mended and looked at."""

import heapq
import random
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from itertools import count
from typing import TYPE_CHECKING

from tests.thrash.arena import Arena
from tests.thrash.checks import check
from tests.thrash.figures import Kind, Violation
from tests.thrash.mend import mend
from tests.thrash.operations import OPERATIONS
from tests.thrash.schedule import Round, Strike

if TYPE_CHECKING:
    from tests.thrash.faults import Undo

OPERATIONS_END = 180
"""Seconds in which what users asked for is answered: VASTSKY_ATTACH_SECONDS, for each of three."""


def run(arena: Arena, plan: Round) -> list[Violation]:
    """Run a round; what was found."""
    operating = arena.background.submit(_operate, arena, plan.operations)
    _strike(arena, plan.strikes)
    arena.note("all faults are over")
    found = _outcome(operating)
    with arena.operating:
        found = found or mend(arena) or check(arena)
        if not found:
            _go_on(arena)
    return found


def _strike(arena: Arena, strikes: tuple[Strike, ...]) -> None:
    """Begin and end each fault at its time."""
    began, order = time.monotonic(), count()
    due: list[tuple[float, int, Strike | Undo]] = [(s.at, next(order), s) for s in strikes]
    heapq.heapify(due)
    while due:
        at, _, what = heapq.heappop(due)
        time.sleep(max(0.0, began + at - time.monotonic()))
        if isinstance(what, Strike):
            arena.note(f"-- {what.fault.name}, for {what.hold:.1f} s")
            arena.figures.count("faults")
            undo = what.fault.begin(arena, random.Random(what.seed))
            end = time.monotonic() - began + what.hold
            heapq.heappush(due, (end, next(order), undo))
        else:
            what()


def _operate(arena: Arena, seeds: tuple[str, ...]) -> list[Violation]:
    found: list[Violation] = []
    for seed in seeds:
        chance = random.Random(seed)
        time.sleep(chance.uniform(0, 4))
        operation = chance.choice(OPERATIONS)
        with arena.operating:
            arena.note(f"-- {operation.__name__}")
            found += operation(arena, chance)
    return found


def _outcome(operating: "Future[list[Violation]]") -> list[Violation]:
    try:
        return operating.result(OPERATIONS_END)
    except NotDone:
        return [Violation(Kind.STUCK, "an operation was not answered")]


def _go_on(arena: Arena) -> None:
    """Let the clients write again."""
    for volume in arena.volumes:
        volume.use(volume.head, arena.link(volume.head, volume.name))
