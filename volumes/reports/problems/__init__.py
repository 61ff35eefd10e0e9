"""What is wrong now, most dangerous to data first; reads only what is wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, F, Model, Q, QuerySet, Sum, Window
from django.utils import timezone

from inventory import clock, recovery, refused_nodes, servers
from inventory.models import (
    ALIVE,
    Cluster,
    Disk,
    Extent,
    HeadServer,
    IdSpace,
    Priority,
    RefusedDisk,
    StorageServer,
    Watch,
)
from inventory.pulse import Pulse
from volumes.models import Attachment, Job, LogicalVolume, Orphan, Replica, UnequalBlock
from volumes.repair import drain, grace
from volumes.replicas.broken import ON_THE_WAY
from volumes.reports import networks, progress, protection

LISTED = 20
"""Of each kind; the rest is counted."""
SEEN = 4
"""Other rows that a problem leads to."""
OUT = (Priority.OFFLINE, Priority.FAULTY)
BACKUP_AGE = timedelta(hours=26)
GONE = "is not there any more: put it in again, there or in another server, or delete it here"
FAILED = "failed: replace it; on its page it is taken back, or deleted"
SILENCE = 60
"""Seconds without a beat of any worker's heart."""
_workers = Pulse()


class Risk(IntEnum):
    """How near data is to being lost or out of reach; lower is worse."""

    UNREACHABLE = 0
    LAST_REPLICA = 1
    UNEQUAL = 2
    BROKEN = 3
    STRANGE = 4
    STOPPED = 5
    FAILED = 6
    NETWORK = 7
    REDUCED = 8
    WEAR = 9


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, why, since when on the wall.

    `verb` helps its row, `about`, and puts no data at risk; `see` are other rows to look at.
    """

    risk: Risk
    about: Model | None
    title: str
    cause: str
    since: datetime | None = None
    verb: str = ""
    see: tuple[Model, ...] = ()


def find(weak: dict[int, protection.Weak] | None = None) -> list[Problem]:
    """Find everything that is wrong, by risk; the number of queries does not depend on how much."""
    now = clock.now()
    found: list[Problem] = []
    found += _weak(protection.weak_volumes() if weak is None else weak)
    found += _unequal()
    found += _broken()
    found += _worker()
    found += _brake()
    found += _halted()
    found += _recovery()
    found += _backup()
    found += _orphans()
    found += _attachments()
    found += _jobs(now)
    found += _refused_nodes()
    found += _servers(now)
    found += _networks()
    found += _disks()
    found += _refused_disks()
    found += _bad_blocks()
    return sorted(found, key=lambda problem: problem.risk)


# -- volumes --------------------------------------------------------------------------------------


def _weak(weak: dict[int, protection.Weak]) -> Iterator[Problem]:
    """The volumes worst off by name, and one line for those whose redundancy is merely reduced."""
    worst = sorted(weak.values(), key=lambda volume: (volume.fewest, volume.volume_id))
    worst = [volume for volume in worst if volume.fewest <= 1][:LISTED]
    rows = LogicalVolume.objects.in_bulk([volume.volume_id for volume in worst])
    degraded = _degraded_replicas(rows)
    for volume in worst:
        # It may have been deleted since its replicas were counted.
        if row := rows.get(volume.volume_id):
            yield _worst(row, volume, *degraded.get(row.pk, ("replicas are missing", None)))
    reduced = [volume for volume in weak.values() if volume.fewest > 1]
    if reduced:
        yield Problem(
            Risk.REDUCED,
            None,
            f"{len(reduced)} volume{'s have' if reduced[1:] else ' has'} fewer replicas than "
            "promised, but more than one",
            "replicas are being rebuilt, or wait for their server's grace to end",
        )


def _worst(
    row: LogicalVolume, volume: protection.Weak, places: str, since: datetime | None
) -> Problem:
    lack = "lacks" if volume.mirrors == 1 else "lack"
    cause = f"{volume.mirrors} of its parts {lack} replicas; {places}"
    if volume.fewest:
        return Problem(
            Risk.LAST_REPLICA, row, f"{row.name} is on its last good replica", cause, since
        )
    return Problem(Risk.UNREACHABLE, row, f"{row.name} has no good replica", cause, since)


def _degraded_replicas(volumes: Iterable[int]) -> dict[int, tuple[str, datetime | None]]:
    """Say where the replicas were that volumes lack, and since when."""
    degraded = Replica.objects.filter(
        mirror__volume__in=volumes, status__in=[Replica.Status.FAULTY, Replica.Status.SPARE]
    )
    found: dict[int, tuple[set[str], datetime]] = {}
    for volume, server, reason, since in degraded.values_list(
        "mirror__volume", "server", "reason", "since"
    ):
        places, first = found.get(volume, (set(), since))
        places.add(f"ssvr-{server:08x} ({reason or 'rebuilding'})")
        found[volume] = (places, min(first, since))
    return {
        volume: ("not good on " + ", ".join(sorted(places)[:4]), clock.on_the_wall(since))
        for volume, (places, since) in found.items()
    }


def _broken() -> Iterator[Problem]:
    """Snapshots that are lost, but for those whose deletion is under way."""
    rows = LogicalVolume.objects.filter(~Exists(ON_THE_WAY), broken=True).select_related("origin")
    for row in rows.order_by("pk")[:LISTED]:
        yield Problem(
            Risk.BROKEN,
            row,
            f"{row.name}, a snapshot of {row.origin.name if row.origin else '?'}, is broken",
            f"{row.broken_because or 'its store lost data'}; it can only be deleted",
            None,
            "delete-volume",
        )


def _attachments() -> Iterator[Problem]:
    """What could not be attached or detached, then what waits for storage: in one question."""
    in_error = Q(attachment__state=Attachment.State.ERROR)
    rows = LogicalVolume.objects.filter(in_error | Q(waiting_since__isnull=False))
    by_risk = F("waiting_since").asc(nulls_first=True)
    found = list(rows.select_related("attachment__head").order_by(by_risk, "pk")[: 2 * LISTED])
    awaited = _silent_servers(row.pk for row in found if row.waiting_since)
    for row in found:
        attached: Attachment | None = getattr(row, "attachment", None)
        if attached and attached.state == Attachment.State.ERROR:
            yield _in_error(row, attached)
        elif row.waiting_since:
            head = [attached.head] if attached else []
            see = (*awaited.get(row.pk, []), *head)
            yield _waiting(row, row.waiting_since, see[:SEEN])


def _silent_servers(volumes: Iterable[int]) -> dict[int, list[StorageServer]]:
    """Find the storage servers of volumes that do not answer us either."""
    places = Replica.objects.filter(mirror__volume__in=list(volumes))
    away = places.filter(~Q(server__priority__in=ALIVE) | Q(server__silent_since__isnull=False))
    pairs = list(away.values_list("mirror__volume", "server").distinct().order_by("server"))
    rows = StorageServer.objects.in_bulk({server for _, server in pairs})
    found: dict[int, list[StorageServer]] = {}
    for volume, server in pairs:
        found.setdefault(volume, []).append(rows[server])
    return found


def _in_error(row: LogicalVolume, attached: Attachment) -> Problem:
    return Problem(
        Risk.STOPPED,
        row,
        f"{row.name} could not be attached to, or detached from, {attached.head}",
        attached.error,
        clock.on_the_wall(attached.since),
        "detach",
    )


def _waiting(row: LogicalVolume, since: datetime, see: tuple[Model, ...]) -> Problem:
    return Problem(
        Risk.UNREACHABLE,
        row,
        f"{row.name} is waiting for storage",
        "its head reaches no good replica of some part of it, and reads and writes wait: look at "
        "the switches and storage servers between them",
        clock.on_the_wall(since),
        see=see,
    )


def _unequal() -> Iterator[Problem]:
    """Places at which replicas differ; most are mended before anybody looks."""
    blocks = UnequalBlock.objects.filter(state=UnequalBlock.State.OPEN).order_by("pk")
    rows = blocks.select_related("mirror__volume").prefetch_related("contents")
    listed = list(rows[:LISTED])
    for row in listed:
        volume = row.mirror.volume
        store = "the copy-on-write store of " if volume.origin_id else ""
        yield Problem(
            Risk.UNEQUAL,
            row,
            f"replicas of {store}{volume.name} differ in {row.length} bytes at {row.volume_offset}",
            "a disk changed what it keeps: " + ", ".join(map(str, row.contents.all())),
            row.found,
        )
    if len(listed) == LISTED and (left := blocks.count() - LISTED):
        yield Problem(
            Risk.UNEQUAL,
            None,
            f"replicas differ in {left} more places",
            "where one disk is behind most of them, evacuate it",
        )


# -- work -----------------------------------------------------------------------------------------


def _jobs(now: datetime) -> Iterator[Problem]:
    stuck = Job.objects.filter(progress.needs_attention(now)).order_by("created")
    for job in stuck[:LISTED]:
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
        )


def _why_stuck(job: Job) -> str:
    if job.attempts:
        return f"{job.attempts} failed tries"
    since = clock.on_the_wall(job.moved or job.since)
    return f"nothing has come of it since {since:%Y-%m-%d %H:%M} UTC: look at the node that does it"


def _halted() -> Iterator[Problem]:
    if halted := servers.count_halted():
        yield Problem(
            Risk.STOPPED,
            servers.cluster(),
            f"The cluster was shut down: {halted} servers are out of service",
            "each is back when its agent is started anew; or let all start again that run",
            None,
            "start-again",
        )


def _recovery() -> Iterator[Problem]:
    row = servers.cluster()
    if row.recovery:
        more = "".join(f"; {reason}" for reason in recovery.reasons()[1:])
        yield Problem(
            Risk.STRANGE,
            None,
            f"The cluster is in recovery mode: {row.recovery}{more}",
            "what runs goes on; nothing is attached, allocated, repaired or deleted until"
            " manage.py recover has taken up what the nodes know",
            row.recovery_since,
        )


def _backup() -> Iterator[Problem]:
    row = servers.cluster()
    if settings.VASTSKY_BACKUPS_KEPT and timezone.now() - row.backed_up > BACKUP_AGE:
        yield Problem(
            Risk.STOPPED,
            None,
            "The newest backup of the manager is older than 26 hours",
            f"none could be written to {settings.VASTSKY_BACKUP_FOLDER}: see the worker's log",
            row.backed_up,
        )


def _orphans() -> Iterator[Problem]:
    first = Orphan.objects.order_by("pk").annotate(count=Window(Count("pk"))).first()
    if first is not None:
        yield Problem(
            Risk.STRANGE,
            None,
            f"{first.count} exports and groups on nodes are unknown here, or newer than known",
            f"{first} on {first.place}, for example: this database is older than they are;"
            " they are left alone",
            clock.on_the_wall(first.since),
        )


def _worker() -> Iterator[Problem]:
    """The worker that looks after the nodes raises a number, which we saw before."""
    still = _workers.still(Watch.objects.filter(pk=1).values_list("holder", "beat").first())
    if still > SILENCE:
        yield Problem(
            Risk.STOPPED,
            None,
            "No worker takes steps: nothing is rebuilt, attached or shredded",
            "no worker runs, or it hangs: see its log",
            timezone.now() - timedelta(seconds=still),
        )


def _brake() -> Iterator[Problem]:
    if why := grace.brake():
        yield Problem(
            Risk.STOPPED,
            None,
            why,
            "bring them back, or declare failed those that will not return",
        )


# -- hardware -------------------------------------------------------------------------------------


def _refused_nodes() -> Iterator[Problem]:
    """A node that has just moved is refused for a moment: that is no problem yet."""
    settled = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    for row in refused_nodes.lately().filter(since__lt=settled).order_by("since")[:LISTED]:
        yield Problem(
            Risk.FAILED,
            None,
            f"A node at {row.addresses} may not register as a {row.kind} server",
            f"it is node {row.node_uuid}: {row.reason}",
            clock.on_the_wall(row.since),
        )


def _servers(now: datetime) -> Iterator[Problem]:
    limit = now - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    silent = Q(priority__in=ALIVE, silent_since__lt=limit)
    out = Q(priority__in=OUT)
    for kind, model in (("storage", StorageServer), ("head", HeadServer)):
        rows = model.objects.filter(silent | out).prefetch_related("addresses")
        listed: list[StorageServer | HeadServer] = list(rows.order_by("priority_since")[:LISTED])
        care = _care(listed) if kind == "storage" else {}
        for row in listed:
            yield _server(kind, row, care.get(row.pk))


def _care(rows: Iterable[Model]) -> dict[int | None, Job]:
    """Find the evacuations and maintenances of servers."""
    jobs = Job.objects.filter(state=Job.State.OPEN, kind__in=drain.CARE, server__in=list(rows))
    return {job.server_id: job for job in jobs}


def _server(kind: str, row: StorageServer | HeadServer, care: Job | None) -> Problem:
    """The safe step is maintenance: it holds the replacement of what is there."""
    verb = "maintain-storage" if kind == "storage" and care is None else ""
    held = f"; {care.kind}: {care.waiting}" if care else ""
    if row.priority in ALIVE:
        return Problem(
            Risk.FAILED,
            row,
            f"{kind} server {row} does not answer{_silence(row)}",
            "look at its power, its cables and its agent; it is out of service after"
            f" {settings.VASTSKY_OFFLINE_SECONDS} s of silence{held}",
            clock.on_the_wall(row.silent_since) if row.silent_since else None,
            verb,
            (care,) if care else (),
        )
    return Problem(
        Risk.FAILED,
        row,
        f"{kind} server {row} is {row.get_priority_display().lower()}{_silence(row)}",
        f"start it, and it registers by itself{held}",
        clock.on_the_wall(row.priority_since),
        verb,
        (care,) if care else (),
    )


def _silence(row: StorageServer | HeadServer) -> str:
    said = sorted({address.silence for address in row.addresses.all()} - {""})
    return f": {'; '.join(said)}" if said else ""


def _networks() -> Iterator[Problem]:
    for down in networks.find():
        one, *others = down.servers
        at = f"of {len(down.servers)} servers" if others else f"of {one}"
        yield Problem(
            Risk.NETWORK,
            None if others else one,
            f"{down.name} {at} ({down.where}) does not answer, the other does",
            "all data goes over the other network, nothing stands by: look at cables and switches",
            down.since,
        )


def _disks() -> Iterator[Problem]:
    """Disks that are out although their server is not: the server's own line says the rest."""
    out = Disk.objects.filter(priority__in=OUT)
    rows = out.filter(server__priority__in=ALIVE).select_related("server")
    for row in rows.order_by("priority_since")[:LISTED]:
        gone = row.priority == Priority.OFFLINE
        yield Problem(
            Risk.FAILED,
            row,
            f"disk {row} on {row.server} is {row.get_priority_display().lower()}",
            f"{row.local_path} {GONE if gone else FAILED}",
            clock.on_the_wall(row.priority_since),
        )


def _refused_disks() -> Iterator[Problem]:
    rows = RefusedDisk.objects.select_related("server").order_by("since", "pk")
    for row in rows[:LISTED]:
        yield Problem(
            Risk.FAILED,
            row.server,
            f"{row.server} does not use its disk {row.local_path}",
            row.reason,
            clock.on_the_wall(row.since),
        )


def _bad_blocks() -> Iterator[Problem]:
    bad = Extent.objects.filter(status__in=[Extent.Status.FAULTY, Extent.Status.EVACUATE])
    counts = dict(bad.values_list("disk").annotate(Sum("size_gb")).order_by("disk")[:LISTED])
    for row in Disk.objects.filter(pk__in=counts).select_related("server").order_by("pk"):
        yield Problem(
            Risk.WEAR,
            row,
            f"disk {row} on {row.server} has {counts[row.pk]} GB of bad blocks",
            "they are out of use; a disk with bad blocks tends to get more",
            None,
            "evacuate-disk",
        )


def _backup_is_old() -> Q:
    late = timezone.now() - BACKUP_AGE
    return Q(backed_up__lt=late) if settings.VASTSKY_BACKUPS_KEPT else Q(pk__in=[])


def is_anything_wrong() -> bool:
    """Tell whether a person should look, cheaply enough for every page."""
    now = clock.now()
    limit = now - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    degraded = Q(priority__in=ALIVE, silent_since__lt=limit) | Q(priority__in=OUT)
    in_error = Q(attachment__state=Attachment.State.ERROR)
    unequal = Q(kind=Job.Kind.MEND, state=Job.State.OPEN)
    wrong: tuple[QuerySet[Any], ...] = (
        Replica.objects.filter(status__in=[Replica.Status.FAULTY, Replica.Status.SPARE]),
        LogicalVolume.objects.filter(broken=True),
        StorageServer.objects.filter(degraded),
        HeadServer.objects.filter(degraded),
        networks.half_silent(),
        Disk.objects.filter(priority__in=OUT),
        RefusedDisk.objects.all(),
        StorageServer.objects.filter(halted=True),
        LogicalVolume.objects.filter(in_error | Q(waiting_since__isnull=False)),
        Orphan.objects.all(),
        Cluster.objects.filter(~Q(recovery="") | _backup_is_old()),
        Job.objects.filter(progress.needs_attention(now) | unequal),
    )
    # One question for all: the row of a number space is always there to ask it of.
    any_row = reduce(or_, (Q(Exists(rows)) for rows in wrong))
    return IdSpace.objects.filter(any_row, name="volume").exists()
