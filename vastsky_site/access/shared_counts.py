"""Counts that all managers of a cluster share, in Redis; each ends by itself.

Redis may be away, or be emptied: who asks goes by what this process knows.
"""

import logging
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import redis
from django.conf import settings
from django.utils.crypto import salted_hmac
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 0.25
"""That Redis has to answer, for somebody waits meanwhile."""
AWAY = 5.0
"""Seconds for which it is not asked after it did not answer."""
SOCKET = "redis+socket://"


class SharedCounts:
    """Counts of one kind, by keys that nobody can read there."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._away_until = float("-inf")
        self._client: tuple[str, redis.Redis] | None = None

    def add(self, key: Hashable, seconds: int) -> tuple[int, float] | None:
        """Count one more; the count and the seconds for which it stands. None: Redis is away."""
        name = self._name(key)

        def count(client: redis.Redis) -> tuple[int, float]:
            with client.pipeline(transaction=True) as steps:
                steps.set(name, 0, ex=seconds, nx=True)
                steps.incr(name)
                steps.pttl(name)
                _, counted, left = steps.execute()
            return int(counted), max(int(left), 0) / 1000

        return self._ask(count)

    def read(self, key: Hashable) -> tuple[int, float] | None:
        """Tell the count and the seconds for which it stands. None: Redis is away."""
        name = self._name(key)

        def look(client: redis.Redis) -> tuple[int, float]:
            with client.pipeline(transaction=True) as steps:
                steps.get(name)
                steps.pttl(name)
                counted, left = steps.execute()
            return int(counted or 0), max(int(left), 0) / 1000

        return self._ask(look)

    def drop(self, key: Hashable) -> None:
        """Begin a count anew."""
        name = self._name(key)
        self._ask(lambda client: client.delete(name))

    def _name(self, key: Hashable) -> str:
        digest = salted_hmac("vastsky.attempts", repr(key), algorithm="sha256").hexdigest()
        return f"vastsky:{self._kind}:{digest}"

    def _ask(self, question: Callable[[redis.Redis], T]) -> T | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            return question(self._connected())
        except (redis.RedisError, OSError, ValueError) as error:
            self._away_until = time.monotonic() + AWAY
            logger.info("attempts are counted by each process for itself: %s", error)
            return None

    def _connected(self) -> redis.Redis:
        """Connect as the settings say, which tests change."""
        url = settings.REDIS_URL
        if self._client is None or self._client[0] != url:
            path = url.removeprefix(SOCKET).partition("?")[0]
            address = f"unix://{path}" if url.startswith(SOCKET) else url
            client = redis.Redis.from_url(
                address,
                socket_timeout=SECONDS,
                socket_connect_timeout=SECONDS,
                retry=Retry(NoBackoff(), 0),  # by default it tries for seconds
            )
            self._client = (url, client)
        return self._client[1]
