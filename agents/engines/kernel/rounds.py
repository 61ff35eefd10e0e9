"""Looking after all groups of a head, again and again: at once where something happened.

A round costs little however many volumes there are. What it finds out decides which mirrors are
looked at closely, each group by a thread of its own, so that none waits for another's servers.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from agents.engines.kernel import kernel_state
from agents.engines.kernel.group import KernelGroup
from agents.engines.kernel.sessions import Sessions

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
SHARE = 0.2
"""Of a processor, for rounds and for looks at what is as it was. What happens is looked at at once,
whatever that takes."""
MOST_SAVED = 5.0
"""Seconds of which a share may be saved up."""
LOOKS_AT_ONCE = 32
FLUSHES_AT_ONCE = 64
"""To bring something to stable storage may wait for a server that is just going."""


class Rounds:
    """Goes round; `groups` tells which there are."""

    def __init__(self, groups: Callable[[], Iterable[KernelGroup]]) -> None:
        self._groups = groups
        self._sessions = Sessions()
        self._looks = ThreadPoolExecutor(LOOKS_AT_ONCE, "kernel-look")
        self._flushes = ThreadPoolExecutor(FLUSHES_AT_ONCE, "kernel-flush")
        self._busy: set[KernelGroup] = set()
        self._spent = 0.0
        self._lock = threading.Lock()

    def run(self) -> None:
        """Go round for ever."""
        pause, saved, last = threading.Event(), 0.0, time.monotonic()
        while True:
            began = time.thread_time()
            try:
                self._go_round(may_spend=saved > 0)
            except Exception:
                logger.exception("volumes not looked after")
            spent = time.thread_time() - began
            pause.wait(max(ROUND_SECONDS, spent / SHARE))
            now = time.monotonic()
            saved = min(saved + (now - last) * SHARE - spent - self._bill(), MOST_SAVED * SHARE)
            last = now

    def _go_round(self, *, may_spend: bool) -> None:
        seen = kernel_state.take_all(self._sessions)
        for group in self._groups():
            for flush in group.flushes(seen):
                self._flushes.submit(flush)
            if group not in self._busy and group.wants_look(seen, at_leisure=may_spend):
                self._busy.add(group)
                self._looks.submit(self._look, group, seen, at_leisure=may_spend)

    def _look(self, group: KernelGroup, seen: kernel_state.Overview, *, at_leisure: bool) -> None:
        began = time.thread_time()
        try:
            if group.changing.acquire(blocking=False):
                try:
                    group.look(seen, at_leisure=at_leisure)
                finally:
                    group.changing.release()
        except Exception:
            logger.exception("group %d: not looked after", group.lvolid)
        finally:
            with self._lock:
                self._spent += time.thread_time() - began
            self._busy.discard(group)

    def _bill(self) -> float:
        """Tell what looks took since this was asked last."""
        with self._lock:
            spent, self._spent = self._spent, 0.0
        return spent
