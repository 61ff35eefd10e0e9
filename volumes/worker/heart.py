"""The heart of a worker: time, steps and the watch over nodes go on without beat and broker.

Five threads, so that none waits for another: one moves the cluster's clock and renews the lead,
Six threads, so that none waits for another: one moves the cluster's clock and renews the lead,
one begins the steps that are due, one sends events to webhooks, and when this worker leads one
looks after the nodes, one asks the broker, and one takes samples.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import close_old_connections, connection

from inventory import clock, workers
from volumes.recovery import sweep
from volumes.webhooks.delivery import Sender
from volumes.worker import backups, broker_watch, reconcile, runner
from volumes.worker.leadership import Leadership

logger = logging.getLogger(__name__)

BEAT = 1.0
BROKER_PAUSE = 4.0
NOTED = 5.0
HUNG = 60.0
"""Seconds that one part of reconciling may take; then another worker leads."""


class Heart:
    """Beats from start() to stop(). `sample` is done in every beat in which this worker leads."""

    def __init__(self, sample: Callable[[], None] = lambda: None) -> None:
        self._take_sample = sample
        self._over = threading.Event()
        self._leadership = Leadership()
        self._sender = Sender()
        self._token = secrets.token_hex(8)
        self._noted = float("-inf")
        self._progress: float | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to beat; what was found on nodes is not taken down at once."""
        sweep.begin_grace()
        looks = (self._beat, self._tick, self._watch, self._ask_broker, self._sample)
        for work in (*looks, self._sender.look):
            thread = threading.Thread(
                target=self._every_beat, args=(work,), name=f"heart{work.__name__}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End, and let another worker take over at once."""
        self._over.set()
        for thread in self._threads:
            thread.join(BEAT)
        self._sender.stop()
        self._leadership.resign()
        workers.leave(self._token)

    def _every_beat(self, work: Callable[[], None]) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    close_old_connections()
                    work()
                except Exception:
                    logger.exception("the worker's heart missed a beat: %s", work.__name__)
                self._over.wait(max(0.0, began + BEAT - time.monotonic()))
        finally:
            connection.close()

    def _beat(self) -> None:
        clock.move(stood=BEAT / 2)
        if self._hangs():
            self._leadership.resign()
        else:
            self._leadership.renew()

    def _tick(self) -> None:
        """Leave a trace as well: whoever starts us anew sees that we live and do not hang."""
        runner.run_due()
        if not self._hangs():
            self._note_tick()
            (Path(settings.VASTSKY_HOME) / "last-tick").touch()

    def _note_tick(self) -> None:
        """Let all managers know that this worker ticks, every few seconds."""
        if time.monotonic() - self._noted >= NOTED:
            workers.tick(self._token)
            self._noted = time.monotonic()

    def _watch(self) -> None:
        """Look after the nodes at once, then as often as the policy says, while we lead."""
        while self._leadership.is_ours and not self._over.is_set():
            began = time.monotonic()
            try:
                reconcile.reconcile(self._goes_on)
                backups.keep()
            finally:
                self._progress = None
            pause = began + settings.VASTSKY_RECONCILE_SECONDS - time.monotonic()
            self._over.wait(max(0.0, pause))

    def _ask_broker(self) -> None:
        if self._leadership.is_ours:
            broker_watch.look()
            self._over.wait(BROKER_PAUSE)

    def _sample(self) -> None:
        if self._leadership.is_ours:
            self._take_sample()

    def _goes_on(self) -> bool:
        self._progress = time.monotonic()
        return self._leadership.is_ours and not self._over.is_set()

    def _hangs(self) -> bool:
        progress = self._progress
        return progress is not None and time.monotonic() - progress > HUNG
