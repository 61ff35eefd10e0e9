"""How work gets on: open jobs by kind, how old they are, how much is left, what ended lately."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import BigIntegerField, Case, Count, F, Min, Q, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents.exposition import MetricSample, gauge
from agents.ondisk import MIB
from inventory import clock
from volumes.models import Job
from volumes.reports import progress

OPEN = gauge("vastsky_jobs", "Open jobs by kind and by what they do now.", "kind", "state")
STUCK = gauge("vastsky_jobs_stuck", "Open jobs that do not get on.", "kind")
OLDEST = gauge(
    "vastsky_job_oldest_age_seconds",
    "How long ago the oldest open job was asked for, by the cluster's clock.",
    "kind",
)
ENDED = gauge(
    "vastsky_jobs_ended_last_hour", "Jobs that ended within the last hour.", "kind", "state"
)
DONE = gauge(
    "vastsky_work_done_bytes", "How far the open jobs of a kind are together, in bytes.", "kind"
)
WHOLE = gauge(
    "vastsky_work_size_bytes", "How much the open jobs of a kind are together, in bytes.", "kind"
)
RATE = gauge(
    "vastsky_work_rate_bytes_per_second",
    "How fast the jobs of a kind that run get on together, each since its start.",
    "kind",
)

MEASURED = (Job.Kind.REBUILD, Job.Kind.SHRED, Job.Kind.SCRUB)
HOUR = timedelta(hours=1)


def tell() -> Iterator[MetricSample]:
    """Count jobs; in a fixed number of queries."""
    now = clock.now()
    yield from _open(now)
    yield from _rates()
    stuck = Job.objects.filter(progress.needs_attention(now)).order_by()
    counts = dict(stuck.values_list("kind").annotate(Count("pk")))
    yield from (STUCK.of(counts.get(kind, 0), kind) for kind in Job.Kind)
    ended = Job.objects.filter(finished__gte=timezone.now() - HOUR).order_by()
    for kind, state, count in ended.values_list("kind", "state").annotate(Count("pk")):
        yield ENDED.of(count, kind, state)


def _open(now: datetime) -> Iterator[MetricSample]:
    """Sum up the open jobs by kind: a rebuild that has not begun is as large as its mirror."""
    of_mirror = Coalesce(F("mirror__size_gb") * 1024, 0)
    size = Case(
        When(total_mib=0, then=of_mirror), default="total_mib", output_field=BigIntegerField()
    )
    rows = Job.objects.filter(state=Job.State.OPEN).order_by().values("kind")
    sums = rows.annotate(
        count=Count("pk"),
        resting=Count("pk", filter=Q(paused=True)),
        running=Count("pk", filter=Q(paused=False, ordered=True)),
        oldest=Min("since"),
        done=Sum("done_mib"),
        size=Sum(size),
    )
    found = {row["kind"]: row for row in sums}
    for kind in Job.Kind:
        row = found.get(kind, {"count": 0, "resting": 0, "running": 0, "done": 0, "size": 0})
        yield OPEN.of(row["count"] - row["resting"] - row["running"], kind, "waiting")
        yield OPEN.of(row["running"], kind, "running")
        yield OPEN.of(row["resting"], kind, "paused")
        if oldest := row.get("oldest"):
            yield OLDEST.of(max((now - oldest).total_seconds(), 0.0), kind)
        if kind in MEASURED:
            yield DONE.of(row["done"] * MIB, kind)
            yield WHOLE.of(row["size"] * MIB, kind)


def _rates() -> Iterator[MetricSample]:
    """Only what runs is read: it is as much as may run at once."""
    running = Job.objects.filter(kind__in=MEASURED, state=Job.State.OPEN, ordered=True)
    rates = dict.fromkeys(MEASURED, 0.0)
    for job in running.select_related("mirror"):
        rates[Job.Kind(job.kind)] += progress.of_job(job).rate
    yield from (RATE.of(rate * MIB, kind) for kind, rate in rates.items())
