"""`python -m tests.thrash --seconds 600 --seed 1 --profile all`; see the Makefile."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.thrash.faults import Profile
from tests.thrash.figures import Figures, Violation
from tests.thrash.run import RunOptions, thrash

LAST_EVENTS = 60
MOST = 30


def main() -> int:
    arguments = _arguments()
    home = Path(tempfile.mkdtemp(prefix="vastsky-thrash-"))
    profile = Profile(arguments.profile)
    wish = RunOptions(home, arguments.seconds, arguments.seed, profile, tuple(arguments.only))
    say = partial(print, flush=True)
    say(f"seed {wish.seed}, profile {profile}, {wish.seconds:.0f} s, in {home}")
    figures, found = thrash(wish, say)
    say(figures.table())
    if arguments.json:
        arguments.json.write_text(json.dumps(figures.struct(), indent=2) + "\n")
    if any(figures.found.values()):
        _tell(home, figures, found)
        return 1
    shutil.rmtree(home)
    return 0


def _tell(home: Path, figures: Figures, found: list[Violation]) -> None:
    """Say what is wrong, and all that is needed to see it again."""
    print(f"\nWRONG in round {figures.rounds} of seed {figures.seed}, profile {figures.profile}:")
    for finding in found[:MOST]:
        print(f"  {finding}")
    if len(found) > MOST:
        print(f"  and {len(found) - MOST} more")
    print(f"\nThe last events (all of them, logs and disks are in {home}):")
    print("\n".join((home / "thrash.log").read_text().splitlines()[-LAST_EVENTS:]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.thrash", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--profile", choices=list(Profile), default=Profile.ALL)
    parser.add_argument("--only", nargs="*", default=[], help="names of faults, to reduce a find")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the cluster is ended, too
    sys.exit(main())
