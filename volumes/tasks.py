"""Celery's way in: each task takes an id or nothing, and decides nothing."""

from collections.abc import Callable
from threading import Lock

from celery import shared_task
from django.conf import settings

from volumes.jobs import wakeup
from volumes.worker import reconcile as reconciling
from volumes.worker import runner

_ticking, _reconciling = Lock(), Lock()


@shared_task(name=wakeup.RUN)
def run_job(job_id: int) -> None:
    """Take the next steps of one job; safe to deliver late, twice, or to two workers at once."""
    runner.run_job(job_id)


@shared_task(name="volumes.tick")
def tick() -> None:
    """Take every step that is due: polls, retries, and what a dead worker or broker left over."""
    _unless_running(_ticking, _tick)


@shared_task(name="volumes.reconcile")
def reconcile() -> None:
    """Ask all nodes how they are."""
    _unless_running(_reconciling, reconciling.reconcile)


def _tick() -> None:
    """Leave a trace as well: whoever watches over us sees that beat, broker and worker live."""
    runner.run_due()
    (settings.VASTSKY_HOME / "last-tick").touch()


def _unless_running(lock: Lock, work: Callable[[], object]) -> None:
    """A second one in this process would only queue behind the first."""
    if lock.acquire(blocking=False):
        try:
            work()
        finally:
            lock.release()
