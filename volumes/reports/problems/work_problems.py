"""What is wrong with the manager's own work: jobs, worker, backup, recovery, orphans."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zlib import crc32

from django.conf import settings
from django.db.models import Count, Window
from django.utils import timezone

from inventory import clock, recovery, servers, webhooks, workers
from inventory.command_line import manage
from inventory.models import Cluster, Watch
from inventory.pulse import Pulse
from volumes.models import Job, Orphan
from volumes.placement import policy
from volumes.reports import progress
from volumes.reports.problems.out import Out
from volumes.reports.problems.problem import Problem, ProblemKind, Risk
from volumes.reports.problems.volume_problems import Degraded

READ = 2000
"""Jobs that are told by what is behind them; the rest is counted."""
STUCK = ProblemKind("job does not get on", "jobs do not get on")
BACKUP_AGE = timedelta(hours=26)
SILENCE = 60
"""Seconds without a beat of any worker's heart."""
_workers = Pulse()


def find_jobs(now: datetime, out: Out, degraded: Degraded) -> Iterator[Problem]:
    """Tell of the jobs that do not get on, and of the lack of room that is behind some of them."""
    stuck = Job.objects.filter(progress.needs_attention(now)).select_related("extent__disk")
    listed = list(stuck.order_by("created").annotate(total=Window(Count("pk")))[:READ])
    if any(job.waiting.startswith(policy.NO_ROOM) for job in listed):
        yield _no_room(next(job for job in listed if job.waiting.startswith(policy.NO_ROOM)))
    for job in listed:
        late = progress.is_overdue(job, now)
        title = "is overdue: nobody takes its next step" if late else "does not get on"
        cause = job.waiting or job.error or _why_stuck(job)
        yield Problem(
            Risk.STOPPED,
            job,
            f"{job.kind} of {job.subject} {title}",
            cause,
            job.created,
            "retry-job",
            key=_behind(job, cause, out, degraded),
            kind=STUCK,
        )
    if listed and (left := listed[0].total - len(listed)):
        more = f"{left} more jobs do not get on"
        yield Problem(Risk.STOPPED, None, more, "the oldest are told one by one", count=left)


def _behind(job: Job, cause: str, out: Out, degraded: Degraded) -> str:
    """Name what holds a job: the lack of room, what it is about, or else its reason."""
    if policy.NO_ROOM in cause:
        return "space"
    keys = [out.behind(job.server_id, job.disk_id)]
    if job.extent:
        keys.append(out.behind(job.extent.disk.server_id, job.extent.disk_id))
    known = next(filter(None, [*keys, degraded.of_mirrors.get(job.mirror_id or 0, "")]), "")
    return known or f"job-{job.kind}-{crc32(cause.encode()):08x}"


def _no_room(job: Job) -> Problem:
    return Problem(
        Risk.STOPPED,
        None,
        "There is no room for what has to be rebuilt or moved",
        f"add disks, or delete what is not needed; of {job.subject}: {job.waiting}",
        job.created,
        key="space",
        root=True,
        count=0,
    )


def _why_stuck(job: Job) -> str:
    if job.attempts:
        return f"{job.attempts} failed tries"
    since = clock.on_the_wall(job.moved or job.since)
    return f"nothing has come of it since {since:%Y-%m-%d %H:%M} UTC: look at the node that does it"


def find_halted(row: Cluster) -> Iterator[Problem]:
    if halted := servers.count_halted():
        yield Problem(
            Risk.STOPPED,
            row,
            f"The cluster was shut down: {halted} servers are out of service",
            "each is back when its agent is started anew; or let all start again that run",
            None,
            "start-again",
            key="halted",
        )


def find_recovery(row: Cluster) -> Iterator[Problem]:
    if row.recovery:
        more = "".join(f"; {reason}" for reason in recovery.reasons()[1:])
        yield Problem(
            Risk.STRANGE,
            None,
            f"The cluster is in recovery mode: {row.recovery}{more}",
            "what runs goes on; nothing is attached, allocated, repaired or deleted until"
            f" {manage('recover')} has taken up what the nodes know",
            row.recovery_since,
            key="recovery",
        )


def find_backup(row: Cluster) -> Iterator[Problem]:
    if settings.VASTSKY_BACKUPS_KEPT and timezone.now() - row.backed_up > BACKUP_AGE:
        yield Problem(
            Risk.STOPPED,
            None,
            "The newest backup of the manager is older than 26 hours",
            f"none could be written to {settings.VASTSKY_BACKUP_FOLDER}: see the worker's log",
            row.backed_up,
            key="backup",
        )


def find_orphans() -> Iterator[Problem]:
    first = Orphan.objects.order_by("pk").annotate(count=Window(Count("pk"))).first()
    if first is not None:
        yield Problem(
            Risk.STRANGE,
            None,
            f"{first.count} exports and groups on nodes are unknown here, or newer than known",
            f"{first} on {first.place}, for example: this database is older than they are;"
            " they are left alone",
            clock.on_the_wall(first.since),
            key="orphans",
            count=first.count,
        )


def find_webhooks() -> Iterator[Problem]:
    """Tell of receivers that take nothing: what happened is kept for them, as events are."""
    for row in webhooks.failing(clock.now()):
        yield Problem(
            Risk.WEAR,
            None,
            f"Webhook {row.name} takes no events",
            f"{row.url}: {row.error}, {row.failures} times in a row; mend its receiver, or remove"
            f" it with `vastsky webhook remove {row.name}`",
            clock.on_the_wall(row.failing_since) if row.failing_since else None,
            key=f"webhook-{row.pk}",
        )


def worker_silence() -> float:
    """For how many seconds this process has seen no sign of a worker.

    The worker that looks after the nodes raises a number, which we saw before.
    """
    return _still(Watch.objects.filter(pk=1).first())


def _still(watch: Watch | None) -> float:
    return _workers.still((watch.holder, watch.beat) if watch else None)


def find_workers() -> Iterator[Problem]:
    """Tell that nobody works, or that who does hears of nothing: what he wrote down of that."""
    watch = Watch.objects.filter(pk=1).first()
    still = _still(watch)
    if still > SILENCE:
        yield Problem(
            Risk.STOPPED,
            None,
            "No worker takes steps: nothing is rebuilt, attached or shredded",
            "no worker runs, or it hangs: see its log",
            timezone.now() - timedelta(seconds=still),
            key="worker",
        )
    elif watch is not None and watch.broker:
        yield Problem(
            Risk.NETWORK,
            None,
            "The broker does not answer: workers begin what is new a second late",
            f"{watch.broker}; start Redis, or mend REDIS_URL",
            clock.on_the_wall(watch.broker_since) if watch.broker_since else None,
            key="broker",
        )


def find_still_workers() -> Iterator[Problem]:
    """Tell of single workers that do not tick, while another one does."""
    for row in workers.standing_still(clock.now()):
        yield Problem(
            Risk.NETWORK,
            None,
            f"A worker on {row.host} takes no steps any more",
            "another one does; start it anew, or forget it: after a day this is told no more",
            clock.on_the_wall(row.at),
            key=f"worker-{row.pk}",
        )


def find_brake(out: Out) -> Iterator[Problem]:
    """Tell that too many servers vanished together: what is behind their silence is one thing."""
    if why := out.brake:
        yield Problem(
            Risk.STOPPED,
            None,
            why,
            "bring them back, or declare failed those that will not return",
            key="brake",
            root=True,
            count=0,
        )
