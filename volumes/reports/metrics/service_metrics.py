"""Who does the manager's work: its workers, and the receivers that are told of events."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from agents.exposition import MetricSample, gauge
from inventory import clock, workers
from inventory.models import EventEntry, Webhook

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


def tell() -> Iterator[MetricSample]:
    """Tell of workers and webhooks; in a fixed number of queries."""
    yield from _workers()
    yield from _webhooks()


def _workers() -> Iterator[MetricSample]:
    now = clock.now()
    releases = Counter(workers.ticking(now).values_list("version", flat=True))
    yield WORKERS.of(releases.total(), TICKING)
    yield WORKERS.of(workers.standing_still(now).count(), STILL)
    for version, count in sorted(releases.items()):
        yield RELEASES.of(count, version)


def _webhooks() -> Iterator[MetricSample]:
    waiting = EventEntry.objects.filter(pk__gt=OuterRef("cursor")).order_by().values(one=Value(1))
    behind = Subquery(waiting.annotate(count=Count("pk")).values("count"))
    rows = list(Webhook.objects.annotate(behind=Coalesce(behind, 0)).order_by("name"))
    now = clock.now()
    for row in rows:
        since = row.failing_since
        yield FAILING.of(max((now - since).total_seconds(), 0.0) if since else 0, row.name)
    for row in rows:
        yield BEHIND.of(row.behind, row.name)
