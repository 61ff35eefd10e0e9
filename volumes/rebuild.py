"""Make mirrors whole again: one job a mirror, decided anew from the rows at every step."""

import errno as errnos
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, F, Max, Q
from django.utils import timezone

from agents.protocol import Progress, Report
from inventory import audit, space
from inventory.errors import Invalid, NoSpace
from inventory.models import Extent, Priority, StorageServer
from inventory.turns import turn
from volumes import allocation, copies, copying, jobs, repair
from volumes.copies import GOOD, Copy
from volumes.jobs import Again
from volumes.models import Attachment, Job, Leg, Mirror

POLL = timedelta(milliseconds=900)
LOOK = timedelta(seconds=2)
TRIES = 3
Status = Leg.Status


# -- what makes a repair begin --------------------------------------------------------------------


@turn()
def request(mirrors: Iterable[int]) -> int:
    """Queue the repair of mirrors that have none yet; fewest good copies first."""
    wanted = Mirror.objects.filter(pk__in=list(mirrors), volume__broken=False).exclude(
        jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
    )
    rows = wanted.annotate(good=Count("legs", filter=Q(legs__status__in=GOOD)))
    return jobs.submit_all(
        Job(
            kind=Job.Kind.REBUILD,
            subject=f"mirr-{mirror:08x} of lvol-{volume:08x} {name}",
            volume_id=origin or volume,
            mirror_id=mirror,
            urgency=good,
        )
        for mirror, volume, name, origin, good in rows.order_by("good", "pk").values_list(
            "pk", "volume", "volume__name", "volume__origin", "good"
        )
    )


def request_missing(limit: int = 1000) -> int:
    """Queue the repair of whatever mirror needs one and has none: the sweep's safety net."""
    ill = Q(legs__status__in=[Status.SPARE, Status.FAULTY])
    bad_blocks = Q(legs__extent__status=Extent.Status.EVACUATE)
    emptied = Q(legs__extent__disk__priority=Priority.EVACUATE) | Q(
        legs__server__priority=Priority.EVACUATE
    )
    found: set[int] = set()
    for need in (ill, bad_blocks, emptied):
        mirrors = Mirror.objects.filter(need, volume__broken=False).exclude(
            jobs__kind=Job.Kind.REBUILD, jobs__state=Job.State.OPEN
        )
        found.update(mirrors.values_list("pk", flat=True)[:limit])
    return request(found) if found else 0


# -- one step -------------------------------------------------------------------------------------


def rebuild_step(job: Job) -> Again | None:
    """Look at the mirror as it is now and take the next step towards a whole one."""
    mirror = Mirror.objects.select_related("volume").filter(pk=job.mirror_id or 0).first()
    if mirror is None or mirror.volume.broken:
        jobs.finish(job, errnos.ECANCELED, "the volume was deleted, or the snapshot is broken")
        return None
    attachment = Attachment.objects.filter(volume=job.volume_id).select_related("volume").first()
    if attachment and attachment.state != Attachment.State.BOUND:
        return Again(LOOK, f"the volume is {attachment.state}")
    if job.step:
        return _look(job, mirror, attachment)
    legs = copies.of_mirror(mirror.pk)
    need = repair.next_need(
        legs,
        redundancy=mirror.volume.redundancy,
        attached=attachment is not None,
        silent_for=silences({copy.server for copy in legs}),
        held=held(legs),
        grace=settings.VASTSKY_GRACE_SECONDS,
        brake=brake_is_on(),
    )
    return _meet(job, mirror, attachment, legs, need)


def _meet(
    job: Job,
    mirror: Mirror,
    attachment: Attachment | None,
    legs: list[Copy],
    need: repair.Need,
) -> Again | None:
    match need:
        case repair.Whole():
            jobs.finish(job)
            return None
        case repair.Wait(reason):
            return Again(LOOK, reason)
        case repair.Replace(lost, moved):
            return _make_room(job, mirror, legs, lost=lost, moved=moved)
        case repair.CatchUp(copy) | repair.Copying(copy):
            return _copy(job, mirror, attachment, copy)


def _make_room(
    job: Job, mirror: Mirror, legs: list[Copy], *, lost: Copy | None, moved: Copy | None
) -> Again:
    """Give up the lost copy's place and take a new one, both or neither."""
    fresh = repair.never_written(legs)
    try:
        with turn():
            if lost:
                discard(lost)
            leg = allocation.reserve_copy(mirror, avoid_servers=repair.servers_to_avoid(legs, lost))
            if fresh:
                Leg.objects.filter(pk=leg.pk).update(status=Status.ALLOCATED)
            replaced = lost or moved
            jobs.record(
                job, extent_id=leg.pk, replaces=replaced.dextid if replaced else 0, attempts=0
            )
    except NoSpace as refusal:
        return _without_room(job, lost, str(refusal))
    return Again()


def _without_room(job: Job, lost: Copy | None, refusal: str) -> Again:
    """No other place: a lost copy whose disk still answers is built anew where it was."""
    if lost and lost.alive and lost.status == Status.FAULTY:
        Leg.objects.filter(pk=lost.dextid).update(why="asked")
        return Again()
    jobs.record(job, extent_id=None)
    return Again(LOOK, refusal)


def discard(copy: Copy) -> None:
    """Remove a copy and give its space back, to be shredded if a head ever saw it."""
    Leg.objects.filter(pk=copy.dextid).delete()
    space.release([copy.dextid], exposed=copy.status != Status.ALLOCATED)


# -- while a copy is being built ------------------------------------------------------------------


def _copy(job: Job, mirror: Mirror, attachment: Attachment | None, target: Copy) -> Again:
    """Begin to copy, if the limits allow."""
    if limit := copying.refusal(target):
        return Again(POLL, limit)
    copying.begin(job, target, attachment)
    return _send(job, mirror, attachment, target)


def _send(job: Job, mirror: Mirror, attachment: Attachment | None, target: Copy) -> Again:
    try:
        report = copying.send(job, mirror, attachment, target)
    except copying.CannotCopy as error:
        return _abandon(job, str(error))
    return _go_on(job, report)


def _go_on(job: Job, report: Report) -> Again:
    jobs.record(job, done_mib=report.done_mib, total_mib=report.total_mib)
    return Again(POLL)


def _look(job: Job, mirror: Mirror, attachment: Attachment | None) -> Again | None:
    """Ask how the copying goes; begin again where the volume has changed hands meanwhile."""
    target = next((c for c in copies.of_mirror(mirror.pk) if c.dextid == job.extent_id), None)
    if target is None or not target.alive:
        return _abandon(job, "the place of the new copy went away")
    if job.step != copying.step(job, attachment):
        return _abandon(job, "the volume was attached or detached meanwhile")
    report = copying.agent(attachment, target).report(job.pk, job.order)
    match report.progress:
        case Progress.UNKNOWN:
            return _send(job, mirror, attachment, target)
        case Progress.RUNNING:
            return _go_on(job, report)
        case Progress.DONE:
            _settle(job, mirror, attachment)
            return None
        case Progress.FAILED:
            return _abandon(job, report.message)


@turn()
def _abandon(job: Job, cause: str) -> Again:
    """Stop this try; the next step decides anew. A place that failed thrice is given up."""
    jobs.record(job, step="", done_mib=0, total_mib=0)
    again = jobs.retry(job, cause, slowest=5)
    if job.attempts % TRIES == 0:
        spare = Leg.objects.filter(pk=job.extent_id, status=Status.SPARE)
        spare.update(why="io", since=timezone.now())
        spare.move(Status.SPARE, Status.FAULTY)
    return again


def _settle(job: Job, mirror: Mirror, attachment: Attachment | None) -> None:
    """Count the new copy as good and let go of the one that it replaces."""
    with turn():
        if copying.step(job, attachment) != job.step:
            raise jobs.LeaseLost(str(job))
        jobs.record(job, done_mib=F("total_mib"))
        jobs.finish(job)
        _count_as_good(job.extent_id, mirror)
    if any(not copy.good or repair.is_leaving(copy) for copy in copies.of_mirror(mirror.pk)):
        request([mirror.pk])


def _count_as_good(dextid: int | None, mirror: Mirror) -> None:
    """Record a copy as in sync, as new as the others, and drop one that was moving away."""
    newest = mirror.legs.filter(status=Status.INSYNC).aggregate(events=Max("events"))["events"]
    legs = Leg.objects.filter(pk=dextid)
    legs.move(Status.SPARE, Status.INSYNC)
    legs.update(why="", since=timezone.now(), events=newest or 0)
    good = [copy for copy in copies.of_mirror(mirror.pk) if copy.good]
    leaving = [copy for copy in good if repair.is_leaving(copy)]
    if leaving and len(good) > mirror.volume.redundancy:
        discard(leaving[0])


# -- told by a node -------------------------------------------------------------------------------


@turn()
def finish_rebuild(mirror_id: int, insync: Iterable[int], eventid: int = 0) -> None:
    """Take a node's word that copies whose rebuild is under way are in sync now; idempotent."""
    mirror = Mirror.objects.select_related("volume").filter(pk=mirror_id).first()
    if mirror is None:
        raise Invalid(f"there is no mirror mirr-{mirror_id:08x}")
    wanted = set(insync)
    strangers = wanted - set(mirror.legs.values_list("pk", flat=True))
    if strangers:
        raise Invalid(f"dext-{min(strangers):08x} is no copy of {mirror}")
    running = Job.objects.filter(
        mirror=mirror, extent__in=wanted, kind=Job.Kind.REBUILD, state=Job.State.OPEN
    ).exclude(step="")
    if eventid:
        running = running.filter(pk=eventid)
    told = list(running)
    for job in told:
        _count_as_good(job.extent_id, mirror)
        running.filter(pk=job.pk).update(
            state=Job.State.DONE, waiting="", finished=timezone.now(), done_mib=F("total_mib")
        )
    if told:
        good = ", ".join(f"dext-{job.extent_id or 0:08x}" for job in told)
        audit.record(audit.Verb.FINISH_REBUILD, mirror, good)


# -- what is known of servers ---------------------------------------------------------------------


def silences(server_ids: Iterable[int]) -> dict[int, float]:
    """Tell for how many seconds storage servers have been silent or out; 0 for one that answers."""
    now = timezone.now()
    rows = StorageServer.objects.filter(pk__in=set(server_ids)).values_list(
        "pk", "priority", "priority_since", "silent_since"
    )
    out = {Priority.OFFLINE, Priority.FAULTY}
    return {
        server: (now - (silent or since)).total_seconds() if silent or priority in out else 0.0
        for server, priority, since, silent in rows
    }


def held(legs: Iterable[Copy]) -> dict[int, str]:
    """Say which copies are left alone for now, and why: maintenance, or a paused evacuation."""
    resting = Job.objects.filter(
        Q(kind=Job.Kind.MAINTENANCE) | Q(kind=Job.Kind.EVACUATE, paused=True),
        state=Job.State.OPEN,
    )
    why: dict[tuple[int | None, int | None], str] = {
        (server, disk): f"{kind} of {subject}" + (" is paused" if kind == "evacuate" else "")
        for server, disk, kind, subject in resting.values_list("server", "disk", "kind", "subject")
    }
    return {
        copy.dextid: why[place]
        for copy in legs
        for place in [(copy.server, None), (None, copy.disk)]
        if place in why
    }


def brake_is_on() -> bool:
    """Tell whether more storage servers went silent than may be replaced without a person."""
    known = StorageServer.objects.exclude(priority=Priority.HALT)
    rows = list(known.values_list("priority", "silent_since"))
    vanished = sum(p == Priority.OFFLINE and silent is not None for p, silent in rows)
    return vanished > 1 and vanished * 100 > settings.VASTSKY_BRAKE_PERCENT * len(rows)
