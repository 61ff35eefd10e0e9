"""Who does the manager's work: its workers, and the receivers that are told of events."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Max

from agents.exposition import Sample, gauge
from inventory import clock, workers
from inventory.models import EventEntry, Webhook, Worker

WORKERS = gauge("vastsky_workers", "Workers by whether they tick.", "state")
RELEASES = gauge("vastsky_worker_releases", "Workers that tick, by their release.", "version")
FAILING = gauge(
    "vastsky_webhook_failing_seconds",
    "For how long a webhook's receiver has taken nothing that was sent; 0: it takes all.",
    "webhook",
)
BEHIND = gauge(
    "vastsky_webhook_events_behind",
    "How many events there are that a webhook has not got past.",
    "webhook",
)
TICKING, STILL = "ticking", "still"


def tell() -> Iterator[Sample]:
    """Tell of workers and webhooks; in a fixed number of queries."""
    yield from _workers()
    yield from _webhooks()


def _workers() -> Iterator[Sample]:
    still = {row.pk for row in workers.standing_still(clock.now())}
    ticking = [version for pk, version in Worker.objects.values_list("pk", "version")
               if pk not in still]  # fmt: skip
    yield WORKERS.of(len(ticking), TICKING)
    yield WORKERS.of(len(still), STILL)
    for version, count in sorted(Counter(ticking).items()):
        yield RELEASES.of(count, version)


def _webhooks() -> Iterator[Sample]:
    rows = list(Webhook.objects.order_by("name"))
    if not rows:
        return
    now = clock.now()
    newest = EventEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0
    for row in rows:
        since = row.failing_since
        yield FAILING.of(max((now - since).total_seconds(), 0.0) if since else 0, row.name)
    for row in rows:
        yield BEHIND.of(max(newest - row.cursor, 0), row.name)
