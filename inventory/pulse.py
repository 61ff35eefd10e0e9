"""Whether something lives, told by a sign that it changes: no two clocks are ever compared."""

import time


class Pulse:
    """Measures, by our own monotonic clock, for how long a sign of life has been the same."""

    def __init__(self) -> None:
        self._sign: object = self
        self._since = 0.0

    def still(self, sign: object) -> float:
        """For how many seconds we have seen this very sign; 0 at the first look."""
        moment = time.monotonic()
        if sign != self._sign:
            self._sign, self._since = sign, moment
        return moment - self._since
