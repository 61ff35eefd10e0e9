"""Which worker leads, that is, looks after the nodes: one, until it resigns or stands still."""

import logging
import secrets
import time

from inventory.models import Watch
from inventory.pulse import Pulse

logger = logging.getLogger(__name__)

LEASE = 5.0
"""Seconds, of its own, for which a candidate sees no beat before it takes over."""


class Leadership:
    """One worker's part in it. No two clocks are ever compared: each measures by its own."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._renewed = float("-inf")
        self._pulse = Pulse()

    @property
    def is_ours(self) -> bool:
        """Tell whether we lead; our lease ends by itself before anybody can take over."""
        return time.monotonic() - self._renewed < LEASE

    def renew(self) -> None:
        """Renew our lease, or take over where nobody leads or the leader stands still."""
        began = time.monotonic()
        row, _ = Watch.objects.get_or_create(pk=1)
        still = self._pulse.still((row.holder, row.beat))
        if row.holder not in ("", self._token) and still < LEASE:
            self._renewed = float("-inf")
            return
        taken = Watch.objects.filter(pk=1, holder=row.holder, beat=row.beat).update(
            holder=self._token, beat=row.beat + 1
        )
        if taken and row.holder != self._token:
            logger.warning("this worker looks after the nodes, after %s", row.holder or "nobody")
        self._renewed = began if taken else float("-inf")

    def resign(self) -> None:
        """Let another worker take over at once."""
        self._renewed = float("-inf")
        Watch.objects.filter(pk=1, holder=self._token).update(holder="")
