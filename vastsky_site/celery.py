"""Celery: the doorbell of the job table, and the beat that makes lost rings harmless."""

import os
from typing import Any

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")

app = Celery("vastsky")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
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


@app.on_after_finalize.connect
def schedule(sender: Celery, **_: Any) -> None:
    """Tick every second; ask the nodes as often as the policy says.

    A message that no worker took before the next one is due is not worth keeping.
    """
    for task, seconds in (
        ("volumes.tick", 1),
        ("volumes.reconcile", settings.VASTSKY_RECONCILE_SECONDS),
    ):
        signature = sender.signature(task, options={"expires": seconds})
        sender.add_periodic_task(seconds, signature, name=task)
