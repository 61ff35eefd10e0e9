"""The groups of a head: their state is told in time, even while one of them hangs."""

import errno
import logging
import math
import threading
import time

from agents.engines.base import HeadEngine
from agents.errors import AgentError
from agents.protocol import GroupState

logger = logging.getLogger(__name__)


class Groups:
    """Asks the engine in a thread; all who wait share the answer."""

    def __init__(self, engine: HeadEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._answered: threading.Event | None = None
        self._latest: tuple[GroupState, ...] | None = None
        self._latest_asked = 0.0

    def tell(self, seconds: float) -> tuple[GroupState, ...]:
        """Tell all groups as they are now; as they were last, if asking takes too long."""
        if not self._ask_soon().wait(seconds):
            logger.warning("a group does not answer; its state is told as it was")
        with self._lock:
            if self._latest is None:
                raise AgentError(errno.EAGAIN, "the groups have not answered yet")
            return self._latest

    def age(self) -> int:
        """Tell for how many seconds, at most, what was told last may have been otherwise."""
        with self._lock:
            return math.ceil(time.monotonic() - self._latest_asked)

    def _ask_soon(self) -> threading.Event:
        with self._lock:
            if self._answered is None:
                self._answered = threading.Event()
                threading.Thread(target=self._ask, name="groups", daemon=True).start()
            return self._answered

    def _ask(self) -> None:
        latest: tuple[GroupState, ...] | None = None
        asked = time.monotonic()
        try:
            latest = tuple(self._engine.groups())
        except Exception:
            logger.exception("the groups cannot be told")
        with self._lock:
            answered, self._answered = self._answered, None
            if latest is not None:
                self._latest, self._latest_asked = latest, asked
        if answered is not None:
            answered.set()
