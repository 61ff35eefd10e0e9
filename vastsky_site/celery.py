"""Celery: wakes workers for the job table; what must go on without it is volumes.worker.heart's."""

import os
from typing import Any

from celery import Celery, signals
from django.conf import settings
from django.utils.log import configure_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")

app = Celery("vastsky")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    # A broker that is full, refuses or is gone must not end the worker, whose heart goes on.
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    # A commit must never wait for a broker that is down: kombu's own connection retries cost 6 s
    # per message as soon as any transport option is set, unless they are switched off here.
    broker_transport_options={
        "max_retries": 0,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        "socket_connect_timeout": 1,
    },
)
app.autodiscover_tasks()


@signals.setup_logging.connect
def log_as_the_site_does(**_: Any) -> None:
    """Log as the web does: who answers this signal keeps Celery from setting levels of its own."""
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


@app.on_after_finalize.connect
def schedule(sender: Celery, **_: Any) -> None:
    """Tick every second: a second wake-up beside the worker's own heart, on which nothing depends.

    A message that no worker took before the next one is due is not worth keeping.
    """
    signature = sender.signature("volumes.tick", options={"expires": 1})
    sender.add_periodic_task(1, signature, name="volumes.tick")
