"""Zero the space that a head may have written, and certify it, before anyone else gets it."""

import errno as errnos
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from agents.protocol import ExtentRef, Progress, Report, ShredOrder
from inventory import audit, clock, servers, space
from inventory.errors import Invalid, NotFound
from inventory.models import ALIVE, Disk, Extent
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.jobs import queue, slots
from volumes.jobs.queue import Again
from volumes.models import Job
from volumes.orphans import occupants

POLL = timedelta(milliseconds=900)
LOOK = timedelta(seconds=5)
PIECE_GB = 512
"""A larger stretch is zeroed piece by piece, so that its beginning is of use before its end."""
AT_ONCE = 500
TRIES = 8
REST = timedelta(minutes=5)
"""How long space rests whose shredding failed TRIES times, so that it never starves the rest."""


def request_missing(limit: int = AT_ONCE, disk: Disk | None = None) -> int:
    """Queue the shredding of space that needs it, on disks that answer; reconcile calls this."""
    open_jobs = Job.objects.filter(kind=Job.Kind.SHRED, state=Job.State.OPEN)
    room = limit - open_jobs.count()
    if room <= 0:
        return 0
    rested = clock.now() - REST
    wanted = (
        Extent.objects.filter(
            status=Extent.Status.OFFLINE,
            disk__priority__in=ALIVE,
            disk__server__priority__in=ALIVE,
        )
        .exclude(jobs__kind=Job.Kind.SHRED, jobs__state=Job.State.OPEN)
        .exclude(jobs__kind=Job.Kind.SHRED, jobs__state=Job.State.FAILED, jobs__due__gt=rested)
        .order_by("pk")
    )
    if disk is not None:
        wanted = wanted.filter(disk=disk)
    with write_lock():
        rows = list(wanted.values_list("pk", "disk", "offset_gb", "size_gb")[:room])
        wake = settings.VASTSKY_SHREDS_PER_DISK if disk is not None else 0
        disks = Disk.objects.select_related("server").in_bulk({row[1] for row in rows})
        works = [_work(pk, disks[number].label, offset, size) for pk, number, offset, size in rows]
        return queue.submit_all(Job.Kind.SHRED, works, wake=wake)


def _work(extent_id: int, label: str, offset_gb: int, size_gb: int) -> dict[str, int | str]:
    """Describe the shredding of an extent, or of the first piece of a large one."""
    if size_gb > PIECE_GB:
        extent_id, size_gb = space.split_offline(extent_id, PIECE_GB), PIECE_GB
    subject = f"{label}, dext-{extent_id:08x}: {size_gb} GiB at {offset_gb}"
    return {
        "subject": subject[: queue.LONGEST_SUBJECT],
        "extent_id": extent_id,
        "total_mib": size_gb * 1024,
        "urgency": 20,
    }


def shred_step(job: Job) -> Again | None:
    """Order the zeroing, follow it, and certify the space once its server says that it is done."""
    extent = Extent.objects.select_related("disk__server").filter(pk=job.extent_id or 0).first()
    if extent is None or extent.status != Extent.Status.OFFLINE:
        queue.finish(job, errnos.ECANCELED, "the space is not waiting to be shredded any more")
        return None
    if extent.disk.priority not in ALIVE or extent.disk.server.priority not in ALIVE:
        queue.finish(job, errnos.ECANCELED, f"{extent.disk} on {extent.disk.server} is out")
        return None
    if not job.ordered:
        place = {"disk": extent.disk_id, "server": extent.disk.server_id}
        start = partial(queue.start, job, "shred")
        if limit := slots.begin(Job.Kind.SHRED, slots.shreds(), start, **place):
            return Again(POLL, limit, in_line=True)
        report = _send(job, extent)
    else:
        report = nodes.storage(extent.disk.server_id).report(job.pk, job.order)
        if report.progress == Progress.UNKNOWN:
            report = _send(job, extent)
    return _take_up(job, extent, report)


def _send(job: Job, extent: Extent) -> Report:
    return nodes.storage(extent.disk.server_id).shred(
        ShredOrder(
            eventid=job.pk,
            order=job.order,
            incarnation=servers.cluster().incarnation,
            extent=ExtentRef(
                dextid=extent.pk,
                generation=extent.generation,
                disk=extent.disk.disk_uuid or extent.disk.local_path,
                offset_gb=extent.offset_gb,
                size_gb=extent.size_gb,
            ),
            over=job.forced,
        )
    )


def _take_up(job: Job, extent: Extent, report: Report) -> Again | None:
    match report.progress:
        case Progress.DONE:
            with write_lock():
                queue.record(job, done_mib=F("total_mib"))
                queue.finish(job)
                space.certify(extent.pk, extent.generation)
            return None
        case Progress.FAILED:
            if report.errno == errnos.EEXIST and not job.forced:
                return _meet_occupant(job, extent, report.message)
            return give_up_or_retry(job, report.errno or errnos.EIO, report.message)
        case _:
            queue.get_on(job, report.done_mib)
            return Again(POLL)


def _meet_occupant(job: Job, extent: Extent, told: str) -> Again | None:
    """Zero what lies there only where this database knows that it is over."""
    if occupants.are_over(extent):
        queue.record(job, ordered=False, forced=True)
        return Again()
    return give_up_or_retry(job, errnos.EEXIST, told)


def give_up_or_retry(job: Job, errno: int, error: str) -> Again | None:
    """Try again as a new order a few times; then end the job, and the space rests for a while."""
    queue.record(job, ordered=False)
    again = queue.retry(job, error)
    if job.attempts < TRIES:
        return again
    queue.finish(job, errno, error)
    return None


@write_lock()
def finish_shred(extent_id: int, eventid: int = 0) -> None:
    """Take a storage server's word that the extent it was zeroing is zero now; idempotent.

    Space that nobody was told to zero stays as it is, whatever a node says.
    """
    extent = Extent.objects.filter(pk=extent_id).first()
    if extent is None:
        raise NotFound(f"there is no extent dext-{extent_id:08x}")
    if extent.status in (Extent.Status.BUSY, Extent.Status.EVACUATE, Extent.Status.SUPER):
        raise Invalid(f"{extent} is {extent.get_status_display()}, it is not being shredded")
    running = Job.objects.filter(extent=extent, kind=Job.Kind.SHRED, state=Job.State.OPEN)
    if eventid:
        running = running.filter(pk=eventid)
    told = running.filter(ordered=True).update(
        state=Job.State.DONE, waiting="", finished=timezone.now(), done_mib=F("total_mib")
    )
    if told:
        detail = f"{extent.size_gb} GiB at {extent.offset_gb} of {Disk(pk=extent.disk_id)}"
        audit.record(audit.Action.FINISH_SHRED, extent, detail)
        space.certify(extent.pk, extent.generation)
