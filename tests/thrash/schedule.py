"""Which faults happen when: a pure function of the seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.thrash.faults import InjectedFault

ROUND_SECONDS = 12.0
LONGEST_HOLD = 9.0
MOST_FAULTS = 4
MOST_OPERATIONS = 3


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when in its round it begins, how long it is held, what its choices come of."""

    at: float
    fault: InjectedFault
    hold: float
    seed: str


@dataclass(frozen=True, slots=True)
class Round:
    """One round: faults in the order of time, and seeds of operations, one after the other."""

    strikes: tuple[Strike, ...]
    operations: tuple[str, ...]


def plan(seed: int, number: int, faults: Sequence[InjectedFault]) -> Round:
    """Round a round: at most one fault in it gives replicas up for good."""
    chance = random.Random(f"{seed} {number}")
    strikes: list[Strike] = []
    for n in range(chance.randint(1, MOST_FAULTS)):
        lossy = any(strike.fault.lossy for strike in strikes)
        usable = [fault for fault in faults if not (lossy and fault.lossy)]
        (chosen,) = chance.choices(usable, [fault.weight for fault in usable])
        at, hold = chance.uniform(0, ROUND_SECONDS), chance.uniform(0.3, LONGEST_HOLD)
        strikes.append(Strike(at, chosen, hold, f"{seed} {number} {n}"))
    operations = [f"{seed} {number} {n} op" for n in range(chance.randint(0, MOST_OPERATIONS))]
    return Round(tuple(sorted(strikes, key=lambda strike: strike.at)), tuple(operations))
