"""`python -m tests.planted [NAME…]`: plant one fault after the other; the tests have to notice."""

import re
import signal
import sys
import time
from dataclasses import dataclass

from tests.planted.checkout import Checkout, DoesNotApply, checkout
from tests.planted.patches import Planted, load

NOTICED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
FAILED = 1
"""pytest's status where tests failed; any other but 0 says that it could not be asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one planted fault."""

    fault: Planted
    caught: bool
    by: str
    seconds: float

    def row(self) -> str:
        verdict = "caught" if self.caught else "**MISSED**"
        return f"| {self.fault.name} | {self.fault.what} | {verdict} | {self.by} |"


def main() -> int:
    """Say who caught what; 1 where a fault was missed or could not be planted."""
    faults = load(sys.argv[1:])
    if not faults:
        print("no patch has such a name", file=sys.stderr)
        return 2
    outcomes = []
    with checkout() as tree:
        for fault in faults:
            outcome = _plant(tree, fault)
            outcomes.append(outcome)
            verdict = "CAUGHT" if outcome.caught else "MISSED"
            print(f"{verdict} {fault.name} ({outcome.seconds:.0f} s): {outcome.by}", flush=True)
        sound = _sound(tree, outcomes)
    print("\n| fault | what it breaks | verdict | by |\n| --- | --- | --- | --- |")
    print("\n".join(outcome.row() for outcome in outcomes))
    caught = sum(outcome.caught for outcome in outcomes)
    print(f"\n{caught} of {len(outcomes)} planted faults were caught.")
    return 0 if sound and caught == len(outcomes) else 1


def _plant(tree: Checkout, fault: Planted) -> Outcome:
    began = time.monotonic()
    try:
        with tree.planted(fault):
            status, said = tree.test(["-x", *fault.selection])
    except DoesNotApply as error:
        return Outcome(fault, caught=False, by=f"it does not apply: {error}", seconds=0)
    seconds = time.monotonic() - began
    if status is None:
        return Outcome(fault, caught=True, by="a test that does not end", seconds=seconds)
    noticed = NOTICED.findall(said)
    if status == FAILED and noticed:
        return Outcome(fault, caught=True, by=noticed[0], seconds=seconds)
    by = "-" if status == 0 else f"pytest ended with {status}: {said.strip()[-200:]}"
    return Outcome(fault, caught=False, by=by, seconds=seconds)


def _sound(tree: Checkout, outcomes: list[Outcome]) -> bool:
    """Tell whether who noticed says nothing where nothing is planted: else its word is no word."""
    noticed = sorted({outcome.by for outcome in outcomes if outcome.caught and "::" in outcome.by})
    if not noticed:
        return True
    status, said = tree.test(noticed)
    if status != 0:
        print(f"\nWithout any fault these fail, too:\n{said[-3000:]}")
    return status == 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the tests are ended, too
    sys.exit(main())
