"""How long each part of something took, for the log."""

import time


class Laps:
    """Begins when it is made; as text it tells all parts that were done since."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._told: list[str] = []

    def done(self, what: str) -> None:
        """Note that a part is done."""
        now = time.monotonic()
        self._told.append(f"{what} {now - self._since:.1f} s")
        self._since = now

    def __str__(self) -> str:
        return ", ".join(self._told)
