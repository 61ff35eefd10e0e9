"""How the cluster is as a whole: the verdict, what is wrong, and who looks after it."""

from collections import Counter
from collections.abc import Iterator

from django.conf import settings

from agents.exposition import MetricSample, gauge
from inventory import clock, servers
from inventory.models import Cluster, Watch
from volumes.reports import protection, verdict
from volumes.reports.problems.work_problems import worker_silence
from volumes.reports.verdict import Findings, Verdict

VERDICT = gauge("vastsky_cluster_verdict", "1 for the verdict that holds now.", "verdict")
RECOVERY = gauge("vastsky_recovery_mode", "1 while the cluster is in recovery mode.")
PROBLEMS = gauge(
    "vastsky_problems",
    "What is wrong, by the kind of its cause and by the worst that follows from it.",
    "cause",
    "severity",
    "acknowledged",
)
SILENCE = gauge(
    "vastsky_worker_silence_seconds",
    "For how long the process that answers has seen no sign of a worker.",
)
SWEPT = gauge(
    "vastsky_sweep_age_seconds",
    "How long ago all nodes were asked how they are, by the cluster's clock.",
)
BACKUP = gauge(
    "vastsky_backup_timestamp_seconds",
    "When the newest backup was written, in Unix time; at first: when the cluster was made.",
)
INCARNATION = gauge("vastsky_cluster_incarnation", "Which life of the manager's database this is.")


def tell(weak: dict[int, protection.Weak]) -> Iterator[MetricSample]:
    """Judge the whole; in a fixed number of queries."""
    found, cluster = verdict.find(weak), servers.cluster()
    holds = verdict.judge(found.wrong)
    yield from (VERDICT.of(int(one is holds), one) for one in Verdict)
    yield from _problems(found)
    yield from _of_cluster(cluster)
    yield SILENCE.of(round(worker_silence(), 3))
    asked = Watch.objects.filter(pk=1).values_list("asked", flat=True).first()
    if asked is not None:
        yield SWEPT.of(max((clock.now() - asked).total_seconds(), 0.0))


def _problems(found: Findings) -> Iterator[MetricSample]:
    """Count cards; the first word of a key is what is behind it."""
    cards = [(card, "no") for card in found.told] + [(card, "yes") for card, _ in found.known]
    counts = Counter(
        (card.key.partition("-")[0], card.risk.name.lower(), known) for card, known in cards
    )
    for labels, count in sorted(counts.items()):
        yield PROBLEMS.of(count, *labels)


def _of_cluster(cluster: Cluster) -> Iterator[MetricSample]:
    yield RECOVERY.of(int(bool(cluster.recovery)))
    yield INCARNATION.of(cluster.incarnation)
    if settings.VASTSKY_BACKUPS_KEPT:
        yield BACKUP.of(cluster.backed_up.timestamp())
