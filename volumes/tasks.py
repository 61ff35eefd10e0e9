"""Celery's way in: each task takes an id or nothing, and decides nothing."""
# ruff: noqa: ARG002
# Celery decides the signatures of a step of its worker.

from typing import Any

from celery import bootsteps, current_app, shared_task

from volumes.jobs import wakeup
from volumes.samples.sampler import Sampler
from volumes.worker import runner
from volumes.worker.heart import Heart


class HeartOfWorker(bootsteps.StartStopStep):
    """Beats for as long as the worker runs, from before it looks for its broker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._heart = Heart(Sampler().look)

    def start(self, parent: Any) -> None:
        """Begin to beat."""
        self._heart.start()

    def stop(self, parent: Any) -> None:
        """End."""
        self._heart.stop()

    def terminate(self, parent: Any) -> None:
        """End."""
        self.stop(parent)


current_app.steps["worker"].add(HeartOfWorker)


@shared_task(name=wakeup.RUN)
def run_job(job_id: int) -> None:
    """Take the next steps of one job; safe to deliver late, twice, or to two workers at once."""
    runner.run_job(job_id)


@shared_task(name="volumes.tick")
def tick() -> None:
    """Begin every step that is due: polls, retries, and what a dead worker or broker left over."""
    runner.run_due()
