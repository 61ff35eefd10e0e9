"""What clients asked of a device since its process was started: how much, how long, what failed.

It is counted for each request, at each replica, in a hundredth of the time that a request takes.
Hence plain lists by command, which the serving end adds to by itself, and a clock that is looked
at for one request in sixteen only.
"""

from bisect import bisect_left
from collections import Counter

from agents.engines.base import DURATIONS, OperationFigures
from agents.engines.userspace.nbd import messages

OPERATIONS = {
    "read": (messages.READ,),
    "write": (messages.WRITE,),
    "flush": (messages.FLUSH,),
    "discard": (messages.TRIM, messages.WRITE_ZEROES),
}
COMMANDS = messages.BLOCK_STATUS + 1
TIMED = 15
"""A request is timed if the bits of its number that are in this are those of 1: the first is."""


class RequestTally:
    """Counts the requests of all clients of a device.

    `failed` counts answers with an error, with those to requests that no device saw, which are
    `refused`: whoever asks for what is not there has had no error of a disk.
    """

    def __init__(self) -> None:
        self.requests = [0] * COMMANDS
        self.bytes = [0] * COMMANDS
        self.failed: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self._seconds = [0.0] * COMMANDS
        self._spread = [[0] * (len(DURATIONS) + 1) for _ in range(COMMANDS)]

    def time(self, command: int, seconds: float) -> None:
        """Note how long a request took."""
        self._seconds[command] += seconds
        self._spread[command][bisect_left(DURATIONS, seconds)] += 1

    def figures(self) -> tuple[OperationFigures, ...]:
        """Tell what was counted, by operation."""
        return tuple(self._figures(name, commands) for name, commands in OPERATIONS.items())

    def _figures(self, name: str, commands: tuple[int, ...]) -> OperationFigures:
        return OperationFigures(
            name,
            sum(self.requests[command] for command in commands),
            sum(self.bytes[command] for command in commands),
            sum(self.failed[command] - self.refused[command] for command in commands),
            sum(self._seconds[command] for command in commands),
            DURATIONS,
            tuple(map(sum, zip(*(self._spread[command] for command in commands), strict=True))),
        )
