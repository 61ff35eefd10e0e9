"""Bodies that nobody wants: a client hears its answer only once it has sent its request."""

import time
from collections.abc import Callable
from math import inf

CHUNK = 64 << 10


def drain(read: Callable[[int], bytes], most: int, seconds: float = inf) -> None:
    """Read what still comes and throw it away, within bounds of bytes and of time."""
    end = time.monotonic() + seconds
    while most > 0 and time.monotonic() < end and (got := read(min(most, CHUNK))):
        most -= len(got)
