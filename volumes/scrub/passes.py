"""Compare the replicas of a mirror from its beginning to its end: which one next, and the step."""

import errno as errnos
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Q

from agents.checksums import BLOCKS
from agents.protocol import ReplicaMark
from inventory import audit, clock, servers
from inventory.errors import Busy
from inventory.models import Cluster
from inventory.write_lock import write_lock
from volumes import labels
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.repair import grace
from volumes.repair.situation import Situation, read
from volumes.scrub import comparison, findings, questions
from volumes.scrub.comparison import Digests, Run

AT_ONCE = 256
"""Chunks that servers are asked for at once; what is no hole they tell only some of."""
ROUNDS = 3
"""So often a chunk's blocks are compared: a write in flight differs once, rot each time."""
STEP_SECONDS = 6.0
SOON = timedelta(milliseconds=100)
LOOK = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)
"""How long a scrub waits where it must not go on; then its turn comes again after LATER."""
LATER = timedelta(days=1)
EARLY = 0.8
"""The share of the days after which the next pass is due, so that it ends within them."""
URGENCY, ASKED_FOR = 100, 90
"""All other work goes first."""


class Changed(Exception):
    """What was compared is not what it was: look again."""


# -- what is compared next ------------------------------------------------------------------------


def request_due() -> int:
    """Queue the scrub of mirrors whose last is longest ago, as many as may run; for reconcile."""
    if not settings.VASTSKY_SCRUB_DAYS or servers.cluster().scrubs_paused:
        return 0
    room = settings.VASTSKY_SCRUBS_TOTAL - _open_scrubs().count()
    if room <= 0:
        return 0
    now = clock.now()
    passed = Mirror.objects.filter(
        scrubbed__lt=now - timedelta(days=settings.VASTSKY_SCRUB_DAYS) * EARLY,
        volume__broken=False,
    )
    waiting = passed.exclude(scrub_tried__gt=now - LATER).exclude(pk__in=_open_scrubs())
    due = list(waiting.order_by("scrubbed", "pk").values_list("pk", flat=True)[:room])
    return _submit(due, URGENCY) if due else 0


@write_lock()
def request_scrub(volume: LogicalVolume) -> Job:
    """Compare all replicas of a volume, or of a snapshot's store, from the beginning, soon.

    Gives the first of the jobs, one a mirror.
    """
    mirrors = Mirror.objects.filter(volume=volume, volume__broken=False)
    idle = list(mirrors.exclude(pk__in=_open_scrubs()).values_list("pk", flat=True))
    if not idle:
        raise Busy(f"{volume.name}: its replicas are being compared, or it is broken")
    Mirror.objects.filter(pk__in=idle).update(scrub_mib=0, scrub_tried=None)
    _submit(idle, ASKED_FOR)
    audit.record(audit.Action.SCRUB_VOLUME, volume, volume.name)
    return Job.objects.filter(kind=Job.Kind.SCRUB, mirror__in=idle).latest("pk")


@write_lock()
def pause_scrubs(*, paused: bool) -> None:
    """Let all scrubs rest, or go on, in the whole cluster."""
    servers.cluster()
    if Cluster.objects.filter(scrubs_paused=not paused).update(scrubs_paused=paused):
        verb = audit.Action.PAUSE_SCRUBS if paused else audit.Action.RESUME_SCRUBS
        audit.record(verb, "cluster")


@write_lock()
def cancel(job: Job, reason: str) -> None:
    """End a scrub; what it has not compared is compared when its turn comes again."""
    if not queue.cancel(Q(pk=job.pk), reason):
        raise Busy(f"{job} is over")
    Mirror.objects.filter(pk=job.mirror_id or 0).update(scrub_tried=clock.now())
    audit.record(audit.Action.CANCEL_JOB, f"job {job.pk}", f"{job.kind} of {job.subject}")


@write_lock()
def _submit(mirrors: Iterable[int], urgency: int) -> int:
    chosen = Mirror.objects.filter(pk__in=mirrors).order_by("scrubbed", "pk")
    works = [
        {
            "subject": f"mirr-{mirror:08x} of {name} (lvol-{volume:08x})",
            "volume_id": origin or volume,
            "mirror_id": mirror,
            "urgency": urgency,
            "done_mib": done,
            "total_mib": size_gb * 1024,
        }
        for mirror, volume, name, origin, done, size_gb in chosen.values_list(
            "pk", "volume", "volume__name", "volume__origin", "scrub_mib", "size_gb"
        )
    ]
    return queue.submit_all(Job.Kind.SCRUB, works)


def _open_scrubs() -> Any:
    scrubs = Job.objects.filter(kind=Job.Kind.SCRUB, state=Job.State.OPEN)
    return scrubs.exclude(mirror=None).values("mirror")


# -- one step -------------------------------------------------------------------------------------


def scrub_step(job: Job) -> Again | None:
    """Compare some more of a mirror, unless something forbids it now."""
    situation = read(job)
    if situation is None:
        queue.finish(job, errnos.ECANCELED, "the volume was deleted, or the snapshot is broken")
        return None
    if why := _rest(job):
        queue.record(job, ordered=False)
        return Again(LOOK, why, in_line=True)
    if why := obstacle(situation):
        return _wait(job, why)
    if not job.ordered and (limit := _begin(situation)):
        return Again(LOOK, limit, in_line=True)
    return _go_on(situation)


def _rest(job: Job) -> str:
    if servers.cluster().scrubs_paused:
        return "scrubs are paused"
    return "paused" if job.paused else ""


def obstacle(situation: Situation) -> str:
    """Say why replicas cannot or must not be compared now; "" if nothing forbids it."""
    attachment, replicas = situation.attachment, situation.replicas
    if attachment and attachment.state != Attachment.State.BOUND:
        return f"the volume is {attachment.state}"
    if not situation.is_known:
        return "the volume was not closed cleanly: it is compared once it was attached again"
    good = [replica for replica in replicas if replica.good and not replica.reason]
    lacking = len(good) < len(replicas) or len(good) < situation.mirror.volume.redundancy
    if lacking or not all(replica.alive for replica in replicas):
        return "it lacks good replicas: the rebuild goes first"
    return grace.brake() or _rebuilds(situation)


def _rebuilds(situation: Situation) -> str:
    """Disks that are busy with a rebuild are left to it."""
    running = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN)
    here = running.filter(mirror=situation.mirror)
    places = [replica.server for replica in situation.replicas]
    beside = running.filter(ordered=True, extent__disk__server__in=places)
    return "a rebuild on its servers goes first" if here.exists() or beside.exists() else ""


def _begin(situation: Situation) -> str:
    """Start if no limit forbids it now; "" if it was started, else which does."""
    with write_lock():
        running = Job.objects.filter(kind=Job.Kind.SCRUB, state=Job.State.OPEN, ordered=True)
        others = Replica.objects.filter(mirror__in=running.values("mirror"))
        taken = list(others.values_list("server", "extent__disk"))
        busy_servers, busy_disks = [row[0] for row in taken], [row[1] for row in taken]
        for replica in situation.replicas:
            if busy_servers.count(replica.server) >= settings.VASTSKY_SCRUBS_PER_SERVER:
                return f"other scrubs run on {labels.storage(replica.server)}"
            if busy_disks.count(replica.disk) >= settings.VASTSKY_SCRUBS_PER_DISK:
                return f"other scrubs run on {labels.disk(replica.disk)}"
        if running.count() >= settings.VASTSKY_SCRUBS_TOTAL:
            return f"{settings.VASTSKY_SCRUBS_TOTAL} scrubs run"
        queue.start(situation.job, f"compare from MiB {situation.job.done_mib}")
    return ""


def _wait(job: Job, why: str) -> Again | None:
    """Wait for a while, in nobody's way; then let others have their turn."""
    deadline = job.deadline or clock.now() + LONGEST_WAIT
    if clock.now() >= deadline:
        return _put_off(job, why)
    queue.record(job, ordered=False, deadline=deadline)
    return Again(LOOK, why)


@write_lock()
def _put_off(job: Job, why: str, errno: int = errnos.ECANCELED) -> None:
    """End the job; the mirror goes on from where it is when its turn comes again."""
    Mirror.objects.filter(pk=job.mirror_id or 0).update(scrub_tried=clock.now())
    queue.finish(job, errno, f"{why}; later again")


# -- comparing ------------------------------------------------------------------------------------


def _go_on(situation: Situation) -> Again | None:
    try:
        return _compare_some(situation)
    except Changed as change:
        return _wait(situation.job, str(change))
    except questions.TooOld as lack:
        return _put_off(situation.job, str(lack))
    except findings.TooMany as excess:
        return _put_off(situation.job, str(excess), errnos.EIO)


def _compare_some(situation: Situation) -> Again | None:
    job, until = situation.job, time.monotonic() + STEP_SECONDS
    while time.monotonic() < until:
        if job.done_mib >= job.total_mib:
            _settle(job)
            return None
        told = _compare(situation, job.done_mib)
        queue.get_on(job, job.done_mib + told, attempts=0, deadline=None)
        Mirror.objects.filter(pk=situation.mirror.pk).update(scrub_mib=job.done_mib)
    return Again(SOON)


def _compare(situation: Situation, offset_mib: int) -> int:
    """Compare the next chunks, and look closely at those that differ; how many they were."""
    wanted = min(AT_ONCE, situation.job.total_mib - offset_mib)
    digests, marks = questions.chunks(situation, offset_mib, wanted)
    _require_unchanged(situation, marks)
    (told,) = {len(one) for one in digests.values()}
    unequal = [offset_mib + place for place in comparison.differing(digests)]
    for chunk in unequal:
        findings.note(situation, chunk, examine(situation, chunk))
    findings.forget(situation, offset_mib, told, besides=unequal)
    return told


def examine(situation: Situation, chunk: int) -> list[Run]:
    """Compare a chunk's blocks until it is sure which differ, not only in a write in flight."""
    suspects = set(range(BLOCKS))
    digests: Digests = {}
    for _ in range(ROUNDS):
        digests = questions.blocks(situation, chunk)
        suspects &= set(comparison.differing(digests))
        if not suspects:
            return []
    if situation.attachment is None:
        _require_unchanged(situation)
        return comparison.runs(digests)
    first, count = min(suspects), max(suspects) - min(suspects) + 1
    verified = questions.verify(situation, situation.attachment, (chunk, first, count))
    if verified.keys() != {replica.dextid for replica in situation.replicas}:
        raise Changed("its head has other replicas in sync")
    return comparison.runs(verified, first)


def _require_unchanged(situation: Situation, marks: Iterable[ReplicaMark] = ()) -> None:
    """Of a detached mirror only what nobody could write to meanwhile, and closed cleanly, counts.

    What a head uses changes all the time; there the head itself has the last word.
    """
    if situation.attachment is not None:
        return
    if len({(mark.epoch, mark.events, mark.clean) for mark in marks}) > 1:
        raise Changed("the marks of its replicas differ")
    if not all(mark.clean for mark in marks):
        raise Changed("its replicas were not closed cleanly")
    now = read(situation.job)
    before = (situation.group.epoch, None, situation.replicas)
    if now is None or (now.group.epoch, now.attachment, now.replicas) != before:
        raise Changed("the volume was attached meanwhile")


@write_lock()
def _settle(job: Job) -> None:
    queue.record(job, done_mib=F("total_mib"))
    queue.finish(job)
    Mirror.objects.filter(pk=job.mirror_id or 0).update(
        scrubbed=clock.now(), scrub_tried=None, scrub_mib=0
    )
