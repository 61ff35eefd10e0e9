"""Has a volume attached and detached until it is told to end (SIGTERM): runs on a manager.

What a call was answered for is looked for after it, and needed by the call that follows: the first
that was lost ends it. A line is printed for each answer, with the seconds it took.
"""

import json
import signal
import subprocess
import sys
import time

STOP: list[int] = []


def main(volume: str, head: str) -> None:
    """Make a volume, attach and detach it again and again, and delete it."""
    _call("create", volume, "1")
    while not STOP:
        for verb, at in (("attach", head), ("detach", "")):
            _call(verb, volume, *filter(None, [at]))
            (found,) = json.loads(_call("list", volume, "--json"))
            assert found["hsvrname"] == at, f"{verb} was answered, and lost: {found}"
    _call("delete", volume)


def _call(*words: str) -> str:
    began = time.monotonic()
    done = subprocess.run(["vastsky", "volume", *words], check=True, stdout=subprocess.PIPE)
    print(f"{time.monotonic() - began:.2f}", *words, flush=True)
    return done.stdout.decode()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: STOP.append(number))
    main(*sys.argv[1:])
