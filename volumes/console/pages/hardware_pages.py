"""The pages of servers and disks, and the map of a disk."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from inventory.models import (
    Disk,
    DiskHealth,
    EventEntry,
    Extent,
    HeadServer,
    Priority,
    StorageServer,
)
from volumes.console.frame import address_states, gone
from volumes.console.frame.formats import span
from volumes.console.frame.page import fragment, number, page, part_of, viewing
from volumes.console.frame.pills import (
    ATTACHMENTS,
    EXTENTS,
    REPLICAS,
    Pill,
    place_pill,
    server_pill,
)
from volumes.console.pages import disk_map as maps
from volumes.console.pages import events_here, job_page
from volumes.console.pages.disk_map import Cell
from volumes.console.pages.job_page import JobSummary, lines
from volumes.console.verbs import run
from volumes.models import Attachment, Job, Replica
from volumes.replicas.rows import OUT_OF_SYNC
from volumes.reports import capacity, care, tree

SHOWN = 50
CELLS = 1000
"""Extents on one part of a disk's map."""


@dataclass(frozen=True, slots=True)
class DiskLine:
    """A disk as a branch."""

    disk: Disk
    pill: Pill
    usage: capacity.Usage
    allocatable: int
    rebuilds: int


def show_head(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a head server and what is attached there."""
    head = HeadServer.objects.filter(pk=number(object_id)).first()
    if head is None:
        return gone.show(request, HeadServer, number(object_id))
    return page(request, "console/head.html", f"Head server {head.label}", **_head(request, head))


@viewing
@part_of("admin:inventory_headserver_change")
def head_live(request: HttpRequest, head_id: int) -> HttpResponse:
    """Show what changes on a head server's page."""
    head = HeadServer.objects.filter(pk=head_id).first()
    if head is None:
        return gone.tell(request, HeadServer, head_id)
    return fragment(request, "console/head_live.html", **_head(request, head))


def show_storage(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a storage server with its disks."""
    server = StorageServer.objects.filter(pk=number(object_id)).first()
    if server is None:
        return gone.show(request, StorageServer, number(object_id))
    title = f"Storage server {server.label}"
    return page(request, "console/storage.html", title, **_storage(request, server))


@viewing
@part_of("admin:inventory_storageserver_change")
def storage_live(request: HttpRequest, server_id: int) -> HttpResponse:
    """Show what changes on a storage server's page."""
    server = StorageServer.objects.filter(pk=server_id).first()
    if server is None:
        return gone.tell(request, StorageServer, server_id)
    return fragment(request, "console/storage_parts.html", **_storage(request, server))


def show_disk(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a disk with its map."""
    disk = Disk.objects.select_related("server").filter(pk=number(object_id)).first()
    if disk is None:
        return gone.show(request, Disk, number(object_id))
    shown = {**_disk(request, disk), **_map(request, disk)}
    return page(request, "console/disk.html", f"Disk {disk}", **shown)


@viewing
@part_of("admin:inventory_disk_change")
def disk_live(request: HttpRequest, disk_id: int) -> HttpResponse:
    """Show what changes on a disk's page."""
    disk = Disk.objects.select_related("server").filter(pk=disk_id).first()
    if disk is None:
        return gone.tell(request, Disk, disk_id)
    return fragment(request, "console/disk_parts.html", **_disk(request, disk))


def lead_from_extent(object_id: str) -> HttpResponse:
    """Lead from an extent to its disk."""
    extent = get_object_or_404(Extent, pk=number(object_id))
    return redirect("admin:inventory_disk_change", extent.disk_id)


@viewing
@part_of("admin:inventory_storageserver_change")
def disks(request: HttpRequest, server_id: int) -> HttpResponse:
    """Show the disks of a server, as a branch of the cluster's tree."""
    return fragment(request, "console/disks.html", disks=disk_lines([server_id]), opened=server_id)


@viewing
@part_of("admin:inventory_disk_change")
def disk_map(request: HttpRequest, disk_id: int) -> HttpResponse:
    """Show the map of a disk, as a branch of the cluster's tree or a part of its page."""
    disk = get_object_or_404(Disk, pk=disk_id)
    return fragment(request, "console/disk_map.html", disk=disk, **_map(request, disk))


def disk_lines(server_ids: Collection[int]) -> list[DiskLine]:
    """Measure the disks of servers for showing them as lines."""
    rows = list(Disk.objects.filter(server__in=server_ids).order_by("pk"))
    usages = capacity.of_disks([row.pk for row in rows])
    allocatable = capacity.allocatable_on(server_ids)
    rebuilds, cared = tree.rebuilds_by_disk(), care.under_way()
    return [
        DiskLine(
            row,
            place_pill(
                row.priority,
                None,
                care.of_disk(cared, row.pk, row.server_id),
                rebuilds.get(row.pk, 0),
            ),
            usages.get(row.pk, capacity.Usage()),
            allocatable.get(row.pk, 0),
            rebuilds.get(row.pk, 0),
        )
        for row in rows
    ]


def _first_step(server: HeadServer | StorageServer, cared: Job | None = None) -> str:
    """Say what helps before anything is given up, and what happens by itself."""
    pill = server_pill(server.priority, server.silent_since)
    look = "Look at its power, its cables and its agent"
    if isinstance(server, HeadServer):
        later = "Its volumes stay its own until somebody declares it failed."
    elif cared and cared.kind == Job.Kind.MAINTENANCE:
        later = (
            "It is in maintenance: nothing of it is replaced before that ends, but where it leaves"
            " a last good replica."
        )
    else:
        grace = span(settings.VASTSKY_GRACE_SECONDS)
        later = (
            f"Its replicas are replaced after {grace} of silence, at once where they leave a last"
            " good one; maintenance holds that."
        )
    if server.priority == Priority.OFFLINE:
        return f"{look}: once it runs it registers by itself. {later}"
    return f"{look}. {later}" if pill.text == "silent" else ""


def _head(request: HttpRequest, head: HeadServer) -> dict[str, Any]:
    rows = Attachment.objects.filter(head=head).select_related("volume").order_by("pk")
    return {
        "server": head,
        "first_step": _first_step(head),
        "pill": server_pill(head.priority, head.silent_since),
        "doors": [address_states.of(row) for row in head.addresses.order_by("position")],
        "attached": [(row, ATTACHMENTS[Attachment.State(row.state)]) for row in rows[:SHOWN]],
        "attached_count": rows.count(),
        "buttons": run.buttons(request, head),
        "events": events_here.about(EventEntry.Object.HEAD, head.pk),
    }


def _storage(request: HttpRequest, server: StorageServer) -> dict[str, Any]:
    replicas = Replica.objects.filter(server=server).values_list("status").annotate(Count("pk"))
    counts, cared = sorted(replicas.order_by()), care.of_server(care.under_way(), server.pk)
    return {
        "server": server,
        "first_step": _first_step(server, cared),
        "pill": place_pill(
            server.priority,
            server.silent_since,
            cared,
            tree.rebuilds_by_storage().get(server.pk, 0),
        ),
        "doors": [address_states.of(row) for row in server.addresses.order_by("position")],
        "replicas": [(REPLICAS[Replica.Status(status)], count) for status, count in counts],
        "news": job_page.news(request, Q(server=server)),
        "jobs": _open_jobs(Q(extent__disk__server=server)),
        "buttons": run.buttons(request, server),
        "events": events_here.about(EventEntry.Object.STORAGE, server.pk),
        "disks": disk_lines([server.pk]),
    }


def _disk(request: HttpRequest, disk: Disk) -> dict[str, Any]:
    cared, server = care.under_way(), disk.server
    return {
        "disk": disk,
        "pill": place_pill(
            disk.priority,
            None,
            care.of_disk(cared, disk.pk, server.pk),
            tree.rebuilds_by_disk().get(disk.pk, 0),
        ),
        "server_state": place_pill(
            server.priority, server.silent_since, care.of_server(cared, server.pk)
        ),
        "usage": capacity.of_disks([disk.pk]).get(disk.pk, capacity.Usage()),
        "smart": _smart(disk),
        "news": job_page.news(request, Q(disk=disk)),
        "jobs": _open_jobs(Q(extent__disk=disk)),
        "buttons": run.buttons(request, disk),
        "events": events_here.about(EventEntry.Object.DISK, disk.pk),
    }


def _map(request: HttpRequest, disk: Disk) -> dict[str, Any]:
    extents = Extent.objects.filter(disk=disk).order_by("offset_gb")
    count = extents.count()
    part = max(0, number(request.GET.get("part", "0")))
    rows = extents.values_list(
        "pk",
        "offset_gb",
        "size_gb",
        "status",
        "replica__status",
        "replica__mirror__volume",
        "replica__mirror__volume__name",
    )
    cells = [_cell(row[:3], *row[3:]) for row in rows[part * CELLS : (part + 1) * CELLS]]
    return {
        "map_rows": maps.lay_out(cells),
        "parts": range(-(-count // CELLS)),
        "part": part,
        "extent_count": count,
    }


def _cell(
    place: tuple[int, int, int],
    status: int,
    replica_status: int | None,
    volume_id: int | None,
    volume: str | None,
) -> Cell:
    kind = capacity.FIELDS[Extent.Status(status)]
    if replica_status in OUT_OF_SYNC:
        kind = "degraded"
    replica = REPLICAS[Replica.Status(replica_status)] if replica_status else None
    shown = EXTENTS[Extent.Status(status)]
    return Cell(*place, kind, shown, replica, volume_id or 0, volume or "")


def _open_jobs(which: Q) -> list[JobSummary]:
    jobs = Job.objects.filter(which, state=Job.State.OPEN).select_related("mirror")
    return lines(jobs.order_by("-started", "urgency", "pk")[:SHOWN])


def _smart(disk: Disk) -> str:
    """Say in a row what a disk says of itself; "" where it says nothing."""
    row = DiskHealth.objects.filter(disk=disk).first()
    if row is None:
        return ""
    verdict = {True: "passed", False: "about to fail", None: ""}[row.passed]
    told = [
        (row.temperature, "{} °C"),
        (row.reallocated, "{} sectors reallocated"),
        (row.pending, "{} pending"),
        (row.wear, "{} % worn"),
    ]
    return ", ".join(
        [verdict] * bool(verdict)
        + [text.format(value) for value, text in told if value is not None]
    )
