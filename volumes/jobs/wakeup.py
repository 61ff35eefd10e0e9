"""Wake-ups: tell workers that a job is due, from a thread of its own.

A broker may be down, or accept connections and never answer. Whoever commits a job must not notice:
the message is only a hint, and the next tick finds the job without it.
"""

import logging
import queue
import threading

from celery import current_app
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

RUN = "volumes.run_job"

_waiting: "queue.Queue[int]" = queue.Queue(maxsize=100)
_start = threading.Lock()
_sender: threading.Thread | None = None


def wake(job_id: int) -> None:
    """Ask for a step, without waiting. The message may get lost or doubled; the row decides."""
    _see_to_sender()
    try:
        _waiting.put_nowait(job_id)
    except queue.Full:
        logger.warning("job %s is not announced, the broker takes nothing; a tick finds it", job_id)


def _see_to_sender() -> None:
    """Start the thread at first use: in the process that wakes, not in one that it is forked of."""
    global _sender  # noqa: PLW0603 - one per process
    with _start:
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_keep_sending, name="wake-up", daemon=True)
            _sender.start()


def _keep_sending() -> None:
    while True:
        job_id = _waiting.get()
        try:
            current_app.send_task(RUN, args=[job_id], retry=False, expires=30)
        except (OperationalError, OSError) as error:
            logger.warning("job %s is not announced, a tick finds it: %s", job_id, error)
        except Exception:
            logger.exception("job %s is not announced", job_id)
