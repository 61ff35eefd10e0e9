"""Events are sent to webhooks: at least once, in their order, by one manager at a time."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from inventory import calls, servers, webhooks
from inventory.errors import HostDown
from inventory.models import EventEntry, Webhook
from volumes.webhooks import message, post
from volumes.webhooks.message import WebhookMessage

logger = logging.getLogger(__name__)


class Sender:
    """Sends to every hook in a thread of its own: a receiver that hangs holds up no other."""

    def __init__(self) -> None:
        self._horizon = webhooks.Horizon()
        self._threads = ThreadPoolExecutor(webhooks.MOST, thread_name_prefix="webhook")

    def look(self) -> None:
        """Begin to send what is due; costs two queries where nothing is."""
        horizon = self._horizon.look()
        for hook in webhooks.due(horizon):
            events = webhooks.next_events(hook, horizon)
            if not events:
                webhooks.pass_over(hook, horizon)
            elif webhooks.claim(hook):
                full = len(events) == webhooks.BATCH
                last = events[-1].pk if full else horizon
                self._threads.submit(_send, hook, events, last)

    def stop(self) -> None:
        """Begin nothing more; what is being sent ends by its deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def send_test(name: str) -> None:
    """Send a message without events now; HostDown if the receiver does not take it."""
    hook = webhooks.find_webhook(name)
    try:
        told = message.of_a_test(servers.cluster(), hook)
        with calls.resting():
            _post(hook, told)
    except post.NotTaken as why:
        raise HostDown(f"{hook} to {hook.url}: {why}") from None


def _send(hook: Webhook, events: Sequence[EventEntry], last: int) -> None:
    """Send, and write down how it went. No transaction is open meanwhile."""
    try:
        told = message.of_events(servers.cluster(), hook, events)
        _post(hook, told)
    except post.NotTaken as why:
        if webhooks.note_failure(hook, str(why)) and not hook.failures:
            logger.warning("%s to %s: %s", hook, hook.url, why)
    except Exception:
        logger.exception("%s could not be sent to", hook)
    else:
        if webhooks.note_taken(hook, last) and hook.failures:
            logger.warning("%s takes events again, after %s failures", hook, hook.failures)
    finally:
        connection.close()


def _post(hook: Webhook, told: WebhookMessage) -> None:
    post.post(hook.url, told.headers(webhooks.key_of(hook), time.time()), told.body)
