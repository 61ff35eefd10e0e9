"""Has a volume attached and detached until it is told to end (SIGTERM): runs on a manager.

Each call needs what the call before it was answered for: the first that was lost ends it. A line is
printed for each answer, with the seconds it took.
"""

import signal
import subprocess
import sys
import time

STOP: list[int] = []


def main(volume: str, head: str) -> None:
    """Make a volume, attach and detach it again and again, and delete it."""
    _call("create", volume, "1")
    while not STOP:
        _call("attach", volume, head)
        _call("detach", volume)
    _call("delete", volume)


def _call(*words: str) -> None:
    began = time.monotonic()
    subprocess.run(["vastsky", "volume", *words], check=True, stdout=subprocess.DEVNULL)
    print(f"{time.monotonic() - began:.2f}", *words, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: STOP.append(number))
    main(*sys.argv[1:])
