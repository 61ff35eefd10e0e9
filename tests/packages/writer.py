"""Writes to a volume until it is told to end (SIGTERM), then reads all back: runs on a head.

Its first word leads to the volume's socket. What it prints is JSON: how many writes there were, how
long the longest took, and which blocks were not what was written last. A failed request ends it.
"""

import json
import random
import signal
import sys
import time
from pathlib import Path

from nbd import NbdClient  # type: ignore[import-not-found]  # lies beside this file there

BLOCK = 4096
PAUSE = 0.02
STOP: list[int] = []


def main(device: NbdClient) -> dict[str, object]:
    """Write blocks at random places; each says in how many-th place it was written."""
    written = dict[int, bytes]()
    count, longest = 0, 0.0
    while not STOP:
        number, count = random.randrange(device.size // BLOCK), count + 1
        written[number] = count.to_bytes(8) * (BLOCK // 8)
        began = time.monotonic()
        device.write(number * BLOCK, written[number])
        longest = max(longest, time.monotonic() - began)
        time.sleep(PAUSE)
    device.flush()
    wrong = [one for one, data in written.items() if device.read(one * BLOCK, BLOCK) != data]
    return {"writes": count, "longest": round(longest, 2), "wrong": wrong}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: STOP.append(number))
    with NbdClient(Path(sys.argv[1]), timeout=300) as volume:
        print(json.dumps(main(volume)))
