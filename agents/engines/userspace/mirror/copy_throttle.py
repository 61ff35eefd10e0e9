"""How fast a group copies: a bound on its rate, and the right of way for clients."""

import time
from collections.abc import Callable

from agents.engines.userspace.loop.coroutines import Future
from agents.engines.userspace.loop.reactor import Reactor
from agents.ondisk import MIB
from agents.rate_limit import RateLimit

PIECE = MIB
"""So much is copied at a time."""
CLIENT_SHARE = 4
"""While clients are active, a copier rests this many times as long as it worked."""


class CopyThrottle:
    """Bounds the rate of all copying of a group, and gives clients the right of way."""

    def __init__(
        self, reactor: Reactor, mib_per_s: int, client_requests: Callable[[], int]
    ) -> None:
        self._reactor = reactor
        self._limit = RateLimit(mib_per_s)
        self._client_requests = client_requests
        self._seen = 0
        self.clients_active = False

    async def rest(self, began: float) -> None:
        """Pause after a piece whose copying began then."""
        pause = self._limit.charge(PIECE)
        requests = self._client_requests()
        self.clients_active = requests != self._seen
        self._seen = requests
        if self.clients_active:
            pause = max(pause, CLIENT_SHARE * (time.monotonic() - began))
        if pause > 0:
            await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Let others work."""
        woken = Future()
        self._reactor.after(seconds, woken)
        await woken
