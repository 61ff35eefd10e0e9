"""A volume's page, in the order of questions: is it well, who uses it, how, what can be done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from inventory.models import Disk, EventEntry
from volumes.console.frame import gone
from volumes.console.frame.page import fragment, number, page, part_of, viewing
from volumes.console.frame.pills import (
    ATTACHMENTS,
    REPLICAS,
    WAITING,
    Pill,
    activity_pills,
    protection_pill,
    replicas_pill,
)
from volumes.console.pages import events_here, job_page, scrub_page, snapshot_tree, volume_use
from volumes.console.pages.job_page import JobSummary, lines
from volumes.console.verbs import run
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.replicas.rows import GOOD
from volumes.reports import activity, progress, protection, tree
from volumes.reports.tree import MirrorReplicaRow

PART = 64
"""Mirrors shown at once; a volume has more only where free space was fragmented."""
WEAK_SHOWN = 12
"""Mirrors that lack replicas, on the page itself."""
JOBS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """A DEXT of the tree, with its rebuild where one is under way."""

    row: MirrorReplicaRow
    place: Disk | None
    pill: Pill
    rebuild: progress.WorkProgress | None

    @property
    def server(self) -> str:
        """The name of its server, or its id."""
        name = self.place.server.name if self.place else ""
        return name or f"ssvr-{self.row.server_id:08x}"

    @property
    def disk(self) -> str:
        """The path of its disk."""
        return self.place.local_path if self.place else f"pdsk-{self.row.disk_id:08x}"

    @property
    def percent_text(self) -> str:
        """How far it is copied."""
        return f"{self.rebuild.percent} %" if self.rebuild else ""


@dataclass(frozen=True, slots=True)
class MirrorLine:
    """A MIRROR of the tree."""

    id: int
    offset_gb: int
    size_gb: int
    good: int
    pill: Pill
    replicas: list[ReplicaLine]
    job: Job | None

    @property
    def hex(self) -> str:
        """Its number as ids are written."""
        return f"{self.id:08x}"


def show(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show one volume with everything that is known of it."""
    volume = _find(number(object_id))
    if volume is None:
        return gone.show(request, LogicalVolume, number(object_id))
    title = f"Volume {volume.name}"
    return page(request, "console/volume.html", title, **_context(request, volume))


@viewing
@part_of("admin:volumes_logicalvolume_change")
def live(request: HttpRequest, volume_id: int) -> HttpResponse:
    """Show what changes on a volume's page."""
    volume = _find(volume_id)
    if volume is None:
        return gone.tell(request, LogicalVolume, volume_id)
    return fragment(request, "console/volume_live.html", **_context(request, volume))


@viewing
@part_of("admin:volumes_logicalvolume_change")
def layers(request: HttpRequest, volume_id: int) -> HttpResponse:
    """Show all mirrors of a volume, a part at a time, once somebody unfolds them."""
    volume = _find(volume_id)
    if volume is None:
        return gone.tell(request, LogicalVolume, volume_id)
    mirrors = _mirrors(volume)
    part = max(0, number(request.GET.get("part", "0")))
    return fragment(
        request,
        "console/volume_layers.html",
        volume=volume,
        mirrors=mirrors[part * PART : (part + 1) * PART],
        part=part,
        parts=range(-(-len(mirrors) // PART)),
    )


def lead_from_attachment(object_id: str) -> HttpResponse:
    """Lead from an attachment to its volume."""
    attached = get_object_or_404(Attachment, pk=number(object_id))
    return redirect("admin:volumes_logicalvolume_change", attached.volume_id)


def lead_from_mirror(object_id: str) -> HttpResponse:
    """Lead from a mirror to its volume."""
    mirror = get_object_or_404(Mirror, pk=number(object_id))
    return redirect("admin:volumes_logicalvolume_change", mirror.volume_id)


def lead_from_replica(object_id: str) -> HttpResponse:
    """Lead from a replica to its volume."""
    replica = get_object_or_404(Replica.objects.select_related("mirror"), pk=number(object_id))
    return redirect("admin:volumes_logicalvolume_change", replica.mirror.volume_id)


def _find(volume_id: int) -> LogicalVolume | None:
    return LogicalVolume.objects.select_related("origin").filter(pk=volume_id).first()


def _context(request: HttpRequest, volume: LogicalVolume) -> dict[str, Any]:
    group = volume.origin_id or volume.pk
    attached = Attachment.objects.filter(volume=group).select_related("head").first()
    weak = protection.weak_volumes([volume.pk]).get(volume.pk)
    mirrors = _mirrors(volume)
    lacking = sorted(
        (mirror for mirror in mirrors if mirror.good < volume.redundancy),
        key=lambda mirror: (mirror.good, mirror.offset_gb),
    )
    family = snapshot_tree.of_group(group)
    return {
        "buttons": run.buttons(request, volume),
        "news": job_page.news(request, Q(volume=group, kind__in=Job.EXCLUSIVE)),
        "volume": volume,
        "origin": volume.origin,
        "attached": attached,
        "state": ATTACHMENTS[Attachment.State(attached.state) if attached else ""],
        "waiting": WAITING if attached and volume.waiting_since else None,
        "activities": activity_pills(
            activity.of_volumes([volume.pk]).get(volume.pk, []), whole=weak is None
        ),
        "replicas": protection_pill(volume, weak.fewest if weak else volume.redundancy),
        "use": volume_use.of(volume, attached, family.shown(volume.pk)),
        "family": family,
        "mirror_count": len(mirrors),
        "whole_count": len(mirrors) - len(lacking),
        "lacking": lacking[:WEAK_SHOWN],
        "lacking_count": len(lacking),
        "scrub": scrub_page.of_volume(volume),
        "jobs": _jobs(group),
        "events": events_here.about(EventEntry.Object.VOLUME, volume.pk),
    }


def _jobs(group: int) -> list[JobSummary]:
    """Read the last jobs of a group."""
    jobs = Job.objects.filter(volume=group).select_related("mirror")
    return lines(jobs.order_by("-pk")[:JOBS_SHOWN])


def _mirrors(volume: LogicalVolume) -> list[MirrorLine]:
    """Read the mirrors of a volume, each with its replicas and its rebuild."""
    rebuilds = Job.objects.filter(
        kind=Job.Kind.REBUILD, state=Job.State.OPEN, mirror__volume=volume
    ).select_related("mirror")
    by_mirror = {job.mirror_id: job for job in rebuilds}
    grouped: dict[int, list[MirrorReplicaRow]] = {}
    found = tree.replicas([volume.pk]).get(volume.pk, [])
    disks = Disk.objects.select_related("server").in_bulk(
        {row.disk_id for row in found if row.dextid}
    )
    for row in found:
        grouped.setdefault(row.mirror_id, []).append(row)
    told, offset_gb = [], 0
    for mirror_id, rows in grouped.items():
        job = by_mirror.get(mirror_id)
        replicas = list(_replicas(rows, disks, job))
        told.append(_mirror(offset_gb, rows[0], replicas, job, volume.redundancy))
        offset_gb += rows[0].mirror_gb
    return told


def _mirror(
    offset_gb: int,
    row: MirrorReplicaRow,
    replicas: list[ReplicaLine],
    job: Job | None,
    redundancy: int,
) -> MirrorLine:
    good = sum(replica.row.status in GOOD for replica in replicas)
    pill = replicas_pill(good, redundancy)
    return MirrorLine(row.mirror_id, offset_gb, row.mirror_gb, good, pill, replicas, job)


def _replicas(
    rows: Iterable[MirrorReplicaRow], disks: Mapping[int, Disk], job: Job | None
) -> Iterable[ReplicaLine]:
    for row in rows:
        if row.dextid is None:
            continue
        being_built = job is not None and job.extent_id == row.dextid and job.started
        rebuild = progress.of_job(job) if job and being_built else None
        pill = REPLICAS[Replica.Status(row.status)]
        yield ReplicaLine(row, disks.get(row.disk_id), pill, rebuild)
