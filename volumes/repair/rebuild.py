"""Make mirrors whole again: one job a mirror, decided anew from the rows at every step."""

import errno as errnos
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Q
from django.utils import timezone

from agents.protocol import Progress, Reason, Report
from inventory import audit, clock
from inventory.errors import Invalid, NoSpace
from inventory.models import Extent
from inventory.write_lock import write_lock
from volumes.attach import examine
from volumes.jobs import queue, slots
from volumes.jobs.queue import Again
from volumes.models import Attachment, Job, Mirror, Replica
from volumes.placement import allocation
from volumes.repair import grace, needs, requests, transfer
from volumes.repair.situation import Situation, read
from volumes.replicas import replica_events, rows, states
from volumes.replicas.rows import ReplicaRow

POLL = timedelta(milliseconds=900)
LOOK = timedelta(seconds=2)
EXAMINE = timedelta(seconds=15)
TRIES = 3
ABSENT = frozenset({Reason.CONNECTION, Reason.SILENT, Reason.RESTARTED})
"""Reasons for which a replica's server may merely be out of reach."""
Status = Replica.Status


# -- one step -------------------------------------------------------------------------------------


def rebuild_step(job: Job) -> Again | None:
    """Look at the mirror as it is now and take the next step towards a whole one."""
    situation = read(job)
    if situation is None:
        queue.finish(job, errnos.ECANCELED, "the volume was deleted, or the snapshot is broken")
        return None
    attachment = situation.attachment
    if attachment and attachment.state != Attachment.State.BOUND:
        return Again(LOOK, f"the volume is {attachment.state}")
    if job.ordered:
        return _follow(situation)
    if not situation.is_known:
        unknown = examine.examine(job.pk, situation.group.pk)
        return Again(EXAMINE, unknown) if unknown else Again()
    need = _need(situation)
    return _meet(situation, _restrain(need, waits=situation.waits_for_storage))


def _need(situation: Situation) -> needs.Need:
    replicas = situation.replicas
    return needs.next_need(
        replicas,
        redundancy=situation.mirror.volume.redundancy,
        attached=situation.attachment is not None,
        silent_for=grace.silences(replicas),
        held=grace.held(replicas),
        grace=settings.VASTSKY_GRACE_SECONDS,
    )


def _restrain(need: needs.Need, *, waits: bool) -> needs.Need:
    """Hold every kind of replacement but that of what somebody declared failed.

    What one server's silence asks for is a mistake where a whole network is away, or where the
    volume waits for storage.
    """
    if not isinstance(need, needs.Replace) or (need.lost and need.lost.reason == Reason.FAILED):
        return need
    why = "the volume waits for storage: nothing is replaced" if waits else grace.brake()
    if not why and need.lost and need.lost.reason in ABSENT:
        why = grace.unheard(need.lost)
    return needs.Wait(why) if why else need


def _meet(situation: Situation, need: needs.Need) -> Again | None:
    match need:
        case needs.Whole():
            queue.finish(situation.job)
            return None
        case needs.Wait(reason):
            return Again(LOOK, reason)
        case needs.Replace(lost, moved):
            return _make_room(situation, lost=lost, moved=moved)
        case needs.Drop(needless):
            return _drop(situation, needless)
        case needs.CatchUp(replica) | needs.Copying(replica):
            return _copy(situation, replica)


def _make_room(situation: Situation, *, lost: ReplicaRow | None, moved: ReplicaRow | None) -> Again:
    """Take a new place. A lost replica is kept until the new one is good, if that is possible.

    It may not be lost at all: perhaps its head still uses it and only we cannot reach it.
    """
    fresh = needs.never_written(situation.replicas)
    given_up = lost if lost and (fresh or lost.status == Status.SPARE) else None
    replaced = lost or moved
    try:
        with write_lock():
            if not situation.is_unchanged():
                return Again(LOOK, "the replicas have just changed")
            replica = _reserve(situation, lost, given_up)
            if fresh:
                Replica.objects.filter(pk=replica.pk).update(status=Status.ALLOCATED)
            queue.record(
                situation.job,
                extent_id=replica.pk,
                replaces=replaced.dextid if replaced else 0,
                attempts=0,
            )
    except NoSpace as refusal:
        return _without_room(situation.job, lost, str(refusal))
    return Again()


def _reserve(situation: Situation, lost: ReplicaRow | None, given_up: ReplicaRow | None) -> Replica:
    """Find a new place away from all replicas, or else on the server of the lost one."""
    mirror, replicas = situation.mirror, situation.replicas
    if lost is not None and lost is not given_up:
        try:
            with transaction.atomic():
                away = needs.servers_to_avoid(replicas, None)
                return allocation.reserve_replica(mirror, avoid_servers=away)
        except NoSpace:
            if not lost.alive and needs.is_sound(lost):
                raise
            given_up = lost
    if given_up is not None:
        allocation.discard(given_up)
    away = needs.servers_to_avoid(replicas, given_up)
    return allocation.reserve_replica(mirror, avoid_servers=away)


def _without_room(job: Job, lost: ReplicaRow | None, refusal: str) -> Again:
    """No other place: a lost replica whose disk still answers is built anew where it was."""
    sound = lost is not None and lost.extent_status == Extent.Status.BUSY
    if lost and sound and lost.alive and lost.status == Status.FAULTY:
        Replica.objects.filter(pk=lost.dextid).update(reason=Reason.ASKED)
        return Again()
    queue.record(job, extent_id=None)
    return Again(LOOK, refusal)


@write_lock()
def _drop(situation: Situation, needless: Iterable[ReplicaRow]) -> Again:
    """Let go of replicas that are not needed any more."""
    if situation.is_unchanged():
        for replica in needless:
            allocation.discard(replica)
    return Again()


# -- while a replica is being built ---------------------------------------------------------------


def _copy(situation: Situation, target: ReplicaRow) -> Again:
    """Begin to copy, if the limits allow."""
    kind, allowed = Job.Kind.REBUILD, slots.rebuilds()
    start = partial(transfer.begin, situation, target)
    if limit := slots.begin(kind, allowed, start, disk=target.disk, server=target.server):
        return Again(POLL, limit, in_line=True)
    return _send(situation, target)


def _send(situation: Situation, target: ReplicaRow) -> Again:
    try:
        report = transfer.send(situation, target)
    except transfer.CannotCopy as error:
        return _abandon(situation.job, str(error))
    return _go_on(situation.job, report)


def _go_on(job: Job, report: Report) -> Again:
    queue.get_on(job, report.done_mib, total_mib=report.total_mib)
    return Again(POLL)


def _follow(situation: Situation) -> Again | None:
    """Ask how the copying goes; begin again where the volume has changed hands meanwhile."""
    job, target = situation.job, situation.target
    if target is None or not target.alive:
        return _abandon(job, "the place of the new replica went away")
    if not transfer.is_as_ordered(job, situation.group.epoch, situation.attachment):
        return _abandon(job, "the volume was attached or detached meanwhile")
    report = transfer.agent(situation.attachment, target).report(job.pk, job.order)
    match report.progress:
        case Progress.UNKNOWN:
            return _send(situation, target)
        case Progress.RUNNING:
            return _go_on(job, report)
        case Progress.DONE:
            _settle(job, situation.mirror, {replica.dextid for replica in report.replicas})
            return None
        case Progress.FAILED:
            return _abandon(job, report.message)


@write_lock()
def _abandon(job: Job, cause: str) -> Again:
    """Stop this try; the next step decides anew. A place that failed thrice is given up."""
    queue.record(job, ordered=False, copier="", done_mib=0, total_mib=0)
    again = queue.retry(job, cause, slowest=5)
    if job.attempts % TRIES == 0:
        spare = Replica.objects.filter(pk=job.extent_id, status=Status.SPARE)
        spare.update(reason=Reason.IO, since=clock.now())
        spare.move(Status.SPARE, Status.FAULTY)
    return again


def _settle(job: Job, mirror: Mirror, used: Collection[int]) -> None:
    """Count the new replica as good and let go of the one that it replaces.

    `used` names what the head has now, if it told: a replica that it let go is behind from then on.
    """
    with write_lock():
        if not transfer.is_current(job):
            raise queue.LeaseLost(str(job))
        queue.record(job, done_mib=F("total_mib"))
        queue.finish(job)
        heals = _is_degraded(mirror)
        if used:
            gone = mirror.replicas.exclude(pk__in=used).values_list("pk", flat=True)
            moved = [dextid for dextid in gone if dextid == job.replaces]
            states.mark_out_of_sync(moved, Reason.STALE, is_loss=False)
            states.mark_out_of_sync([d for d in gone if d not in moved], Reason.STALE)
        _count_as_good(job, mirror, heals=heals)
    if any(not replica.good or needs.is_leaving(replica) for replica in rows.of_mirror(mirror.pk)):
        requests.request([mirror.pk])


def _is_degraded(mirror: Mirror) -> bool:
    return mirror.replicas.filter(status__in=rows.GOOD).count() < mirror.volume.redundancy


def _count_as_good(job: Job, mirror: Mirror, *, heals: bool) -> None:
    """Record a replica as in sync, as new as the others, and drop one that was moving away.

    A head has dropped the replica that was to be replaced, whatever else has changed since.
    A replica that moved while nothing was lacking `heals` nothing.
    """
    newest = mirror.replicas.filter(status=Status.INSYNC).aggregate(events=Max("events"))["events"]
    replicas = Replica.objects.filter(pk=job.extent_id)
    came = replicas.move(Status.SPARE, Status.INSYNC)
    replicas.update(reason=Reason.NONE, since=clock.now(), events=newest or 0)
    if job.copier == Job.CopyingNode.HEAD and job.replaces != job.extent_id:
        for replica in rows.load(Q(pk=job.replaces, mirror=mirror)):
            allocation.discard(replica)
    for replica in needs.superfluous(rows.of_mirror(mirror.pk), mirror.volume.redundancy):
        allocation.discard(replica)
    if came and heals and job.extent_id:
        replica_events.tell_of_return(Counter([mirror.pk]))


# -- told by a node -------------------------------------------------------------------------------


@write_lock()
def finish_rebuild(mirror_id: int, reported: Collection[tuple[int, int]], eventid: int = 0) -> None:
    """Take a node's word that replicas whose rebuild is under way are in sync now; idempotent.

    `reported` are dextids with their states; Invalid if any is no replica of the mirror.
    """
    mirror = Mirror.objects.select_related("volume").filter(pk=mirror_id).first()
    if mirror is None:
        raise Invalid(f"there is no mirror mirr-{mirror_id:08x}")
    rows.require_of_mirror(mirror_id, {dextid for dextid, _ in reported})
    wanted = {dextid for dextid, state in reported if state == Status.INSYNC}
    running = Job.objects.filter(
        mirror=mirror,
        extent__in=wanted,
        kind=Job.Kind.REBUILD,
        state=Job.State.OPEN,
        ordered=True,
    )
    if eventid:
        running = running.filter(pk=eventid)
    told = [job for job in running if transfer.is_current(job)]
    for job in told:
        _count_as_good(job, mirror, heals=_is_degraded(mirror))
        running.filter(pk=job.pk).update(
            state=Job.State.DONE, waiting="", finished=timezone.now(), done_mib=F("total_mib")
        )
    if told:
        good = ", ".join(f"dext-{job.extent_id or 0:08x}" for job in told)
        audit.record(audit.Action.FINISH_REBUILD, mirror, good)
