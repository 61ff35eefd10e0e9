"""Empty a storage server or disk, or leave it alone for a while: plan, start, pause, end."""

import errno as errnos
from datetime import timedelta

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from inventory import audit, clock, recovery, servers
from inventory.errors import Busy, Invalid
from inventory.models import USABLE, Disk, Extent, Priority, StorageServer
from inventory.write_lock import write_lock
from volumes.jobs import queue
from volumes.jobs.queue import Again
from volumes.models import Job, Replica
from volumes.placement import policy
from volumes.repair import relocation, requests
from volumes.repair.relocation import Relocation
from volumes.replicas.rows import GOOD

LOOK = timedelta(seconds=2)
PAUSABLE = (Job.Kind.EVACUATE, Job.Kind.SCRUB)
CARE = (Job.Kind.EVACUATE, Job.Kind.MAINTENANCE)
"""One of these at a time is open for a place."""
Place = StorageServer | Disk


def plan_evacuation(place: Place) -> Relocation:
    """Tell what evacuating this server or disk would move, without changing anything."""
    return relocation.plan(_replicas_on(place), lambda room: _is_at(room, place))


@write_lock()
def start_evacuation(place: Place) -> Job:
    """Begin to move every replica away; the place serves on until they are elsewhere."""
    recovery.refuse(f"evacuating {place.label}")
    if not servers.set_priority(place, Priority.EVACUATE, was=USABLE):
        raise Invalid(f"{place.label} is {place.get_priority_display()}, it cannot be evacuated")
    total = _replicas_on(place).aggregate(gb=Sum("extent__size_gb"))["gb"] or 0
    job = _submit(Job.Kind.EVACUATE, place, total_mib=total * 1024)
    requests.request(_replicas_on(place).values_list("mirror", flat=True))
    audit.record(audit.Action.START_EVACUATION, place, f"job {job.pk}, {total} GiB", job=job.pk)
    return job


def standing(place: Place, kind: Job.Kind) -> Job | None:
    """Find the evacuation or maintenance of a place that nobody has ended; what is empty stays."""
    latest = Job.objects.filter(_of(place), kind=kind).order_by("-pk").first()
    if latest is None or latest.state == Job.State.OPEN:
        return latest
    emptied = kind == Job.Kind.EVACUATE and place.priority == Priority.EVACUATE
    return latest if emptied and latest.state == Job.State.DONE else None


@write_lock()
def start_maintenance(place: Place, minutes: int) -> Job:
    """Leave a place alone for a while: nothing new lands there, and its silence replaces nothing.

    A mirror on its last replica is repaired all the same. Busy where the place has the only good
    replica of something: it must be evacuated instead.
    """
    recovery.refuse(f"maintenance of {place.label}")
    if minutes not in range(1, 7 * 24 * 60 + 1):
        raise Invalid(f"maintenance takes 1 minute to 7 days, not {minutes} minutes")
    alone = _replicas_on(place).exclude(mirror__replicas__in=_good_elsewhere(place))
    if last := alone.filter(status__in=GOOD).count():
        raise Busy(f"{place.label} holds the only good replica of {last} mirrors")
    until = clock.now() + timedelta(minutes=minutes)
    job = _submit(Job.Kind.MAINTENANCE, place, deadline=until)
    audit.record(audit.Action.START_MAINTENANCE, place, f"for {minutes} minutes", job=job.pk)
    return job


@write_lock()
def pause(job: Job, *, paused: bool) -> None:
    """Let an evacuation or a scrub rest, or go on; what is being moved now is finished."""
    if job.kind not in PAUSABLE:
        raise Invalid(f"{job} is no evacuation and no scrub, it cannot be paused")
    before = Job.objects.filter(pk=job.pk, state=Job.State.OPEN)
    if before.exclude(paused=paused).update(paused=paused):
        verb = audit.Action.PAUSE_JOB if paused else audit.Action.RESUME_JOB
        audit.record(verb, f"job {job.pk}", f"{job.kind} of {job.subject}")
    elif not before.exists():
        raise Busy(f"{job} is over")


@write_lock()
def end(job: Job, reason: str) -> None:
    """End an evacuation or maintenance before its time; the place may be used again."""
    if not queue.cancel(Q(pk=job.pk), reason):
        raise Busy(f"{job} is over")
    audit.record(audit.Action.CANCEL_JOB, f"job {job.pk}", f"{job.kind} of {job.subject}")
    place = job.server or job.disk
    if job.kind == Job.Kind.EVACUATE and place is not None:
        servers.set_priority(place, _trusted(place), was=[Priority.EVACUATE])


@write_lock()
def return_to_service(place: Place) -> None:
    """Let what is drained take new data again; an evacuation that is under way ends.

    Where it takes new data already nothing is done.
    """
    recovery.refuse(f"returning {place.label} to service")
    if not servers.set_priority(place, _trusted(place), was=[Priority.EVACUATE]):
        if place.priority in USABLE:
            return
        raise Invalid(f"{place.label} is {place.get_priority_display()}, it was not drained")
    why = f"{place.label} was returned to service"
    ended = queue.cancel(_of(place) & Q(kind=Job.Kind.EVACUATE), why)
    detail = "its evacuation was under way" if ended else "it was drained"
    audit.record(audit.Action.RETURN_TO_SERVICE, place, detail)


def _trusted(place: Place) -> Priority:
    """Say how far a place is trusted that is not drained any more."""
    bad = Extent.objects.filter(status__in=[Extent.Status.FAULTY, Extent.Status.EVACUATE])
    spoilt = isinstance(place, Disk) and bad.filter(disk=place).exists()
    return Priority.LOW if spoilt else Priority.HIGH


def evacuate_step(job: Job) -> Again | None:
    """Count what is left; done when nothing is, the place stays EVACUATE for its removal."""
    place = job.server or job.disk
    if place is None or place.priority != Priority.EVACUATE:
        queue.finish(job, errnos.ECANCELED, "it is not being evacuated any more")
        return None
    left = _replicas_on(place).aggregate(gb=Sum("extent__size_gb"))["gb"] or 0
    if not left:
        queue.record(job, done_mib=job.total_mib)
        queue.finish(job)
        return None
    total = max(job.total_mib, left * 1024)
    started = job.started or timezone.now()
    queue.get_on(job, total - left * 1024, total_mib=total, started=started)
    moving = _is_being_moved(place)
    held = _pause(place) if job.paused else "" if moving else _stop(place)
    waiting = f"{left} GiB {'is' if left == 1 else 'are'} left{held}"
    return Again(LOOK, waiting, in_line=job.paused or moving)


def _rebuilds(place: Place) -> QuerySet[Job]:
    """Choose the open rebuilds of what is on a place."""
    rebuilds = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN)
    return rebuilds.filter(mirror__in=_replicas_on(place).values("mirror"))


def _is_being_moved(place: Place) -> bool:
    """Tell whether a rebuild of something on this place got on since we looked last but one."""
    return _rebuilds(place).filter(moved__gt=clock.now() - 2 * LOOK).exists()


def _pause(place: Place) -> str:
    """Say what goes on in spite of a pause: what has begun."""
    begun = _rebuilds(place).filter(ordered=True).count()
    if begun == 1:
        return ", paused; 1 move that has begun finishes first"
    return f", paused; {begun} moves that have begun finish first" if begun else ", paused"


def _stop(place: Place) -> str:
    """Say why nothing moves: what the first rebuild that has not begun waits for."""
    resting = _rebuilds(place).filter(ordered=False).exclude(waiting="").order_by("pk")
    waiting = resting.values_list("waiting", flat=True).first()
    return f": {waiting}" if waiting else ""


def maintenance_step(job: Job) -> Again | None:
    """Wait for the end of the maintenance."""
    if job.deadline is None or clock.now() >= job.deadline:
        queue.finish(job)
        return None
    queue.record(job, started=job.started or timezone.now())
    return Again(LOOK, f"until {clock.on_the_wall(job.deadline):%H:%M} UTC")


def _submit(kind: Job.Kind, place: Place, **about: object) -> Job:
    if isinstance(place, Disk):
        return queue.submit(kind, subject=place.label, disk=place, **about)
    return queue.submit(kind, subject=place.label, server=place, **about)


def _of(place: Place) -> Q:
    """Choose the jobs of a place."""
    return Q(disk=place) if isinstance(place, Disk) else Q(server=place)


def _replicas_on(place: Place) -> QuerySet[Replica]:
    if isinstance(place, Disk):
        return Replica.objects.filter(extent__disk=place)
    return Replica.objects.filter(server=place)


def _good_elsewhere(place: Place) -> QuerySet[Replica]:
    good = Replica.objects.filter(status__in=GOOD)
    if isinstance(place, Disk):
        return good.exclude(extent__disk=place)
    return good.exclude(server=place)


def _is_at(room: policy.Room, place: Place) -> bool:
    return (room.disk if isinstance(place, Disk) else room.server) == place.pk
