"""The pages of servers and disks, and the map of a disk."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from inventory.models import Disk, Extent, HeadServer, Priority, StorageServer
from volumes.console.frame import addresses
from volumes.console.frame.page import fragment, number, page, viewing
from volumes.console.frame.pills import (
    ATTACHMENTS,
    EXTENTS,
    PRIORITIES,
    REPLICAS,
    Pill,
    server_pill,
)
from volumes.console.pages.job_page import JobSummary, lines
from volumes.console.verbs import run
from volumes.models import Attachment, Job, Replica
from volumes.reports import capacity, tree

SHOWN = 50
CELLS = 1000
"""Extents on one part of a disk's map."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An extent on the map; `volume_id` is 0 where it holds no replica."""

    id: int
    offset_gb: int
    size_gb: int
    kind: str
    pill: Pill
    replica: Pill | None
    volume_id: int
    volume: str


def show_head(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a head server and what is attached there."""
    head = get_object_or_404(HeadServer, pk=number(object_id))
    rows = Attachment.objects.filter(head=head).select_related("volume").order_by("pk")
    return page(
        request,
        "console/head.html",
        f"Head server {head}",
        server=head,
        pill=server_pill(head.priority, head.silent_since),
        doors=[addresses.of(row) for row in head.addresses.order_by("position")],
        attached=[(row, ATTACHMENTS[Attachment.State(row.state)]) for row in rows[:SHOWN]],
        attached_count=rows.count(),
        buttons=run.buttons(request, head),
    )


def show_storage(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a storage server with its disks."""
    server = get_object_or_404(StorageServer, pk=number(object_id))
    replicas = Replica.objects.filter(server=server).values_list("status").annotate(Count("pk"))
    return page(
        request,
        "console/storage.html",
        f"Storage server {server}",
        server=server,
        pill=server_pill(server.priority, server.silent_since),
        doors=[addresses.of(row) for row in server.addresses.order_by("position")],
        replicas=[
            (REPLICAS[Replica.Status(status)], n) for status, n in sorted(replicas.order_by())
        ],
        jobs=_open_jobs(Q(server=server) | Q(extent__disk__server=server)),
        buttons=run.buttons(request, server),
        **_disks(server.pk),
    )


def show_disk(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show a disk with its map."""
    disk = get_object_or_404(Disk.objects.select_related("server"), pk=number(object_id))
    usage = capacity.of_disks([disk.pk]).get(disk.pk, capacity.Usage())
    return page(
        request,
        "console/disk.html",
        f"Disk {disk}",
        disk=disk,
        pill=PRIORITIES[Priority(disk.priority)],
        server_state=server_pill(disk.server.priority, disk.server.silent_since),
        usage=usage,
        jobs=_open_jobs(Q(disk=disk) | Q(extent__disk=disk)),
        buttons=run.buttons(request, disk),
        **_map(request, disk),
    )


def lead_from_extent(object_id: str) -> HttpResponse:
    """Lead from an extent to its disk."""
    extent = get_object_or_404(Extent, pk=number(object_id))
    return redirect("admin:inventory_disk_change", extent.disk_id)


@viewing
def disks(request: HttpRequest, server_id: int) -> HttpResponse:
    """Show the disks of a server, as a branch of the cluster's tree."""
    return fragment(request, "console/disks.html", **_disks(server_id))


@viewing
def disk_map(request: HttpRequest, disk_id: int) -> HttpResponse:
    """Show the map of a disk, as a branch of the cluster's tree or a part of its page."""
    disk = get_object_or_404(Disk, pk=disk_id)
    return fragment(request, "console/disk_map.html", disk=disk, **_map(request, disk))


def _disks(server_id: int) -> dict[str, Any]:
    rows = list(Disk.objects.filter(server=server_id).order_by("pk"))
    usages = capacity.of_disks([row.pk for row in rows])
    rebuilds = tree.rebuilds_by_disk()
    return {
        "disks": [
            (
                row,
                PRIORITIES[Priority(row.priority)],
                usages.get(row.pk, capacity.Usage()),
                rebuilds.get(row.pk, 0),
            )
            for row in rows
        ]
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
    return {
        "cells": [_cell(row[:3], *row[3:]) for row in rows[part * CELLS : (part + 1) * CELLS]],
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
    if replica_status in (Replica.Status.SPARE, Replica.Status.FAULTY):
        kind = "degraded"
    replica = REPLICAS[Replica.Status(replica_status)] if replica_status else None
    shown = EXTENTS[Extent.Status(status)]
    return Cell(*place, kind, shown, replica, volume_id or 0, volume or "")


def _open_jobs(which: Q) -> list[JobSummary]:
    jobs = Job.objects.filter(which, state=Job.State.OPEN).select_related("mirror")
    return lines(jobs.order_by("-started", "urgency", "pk")[:SHOWN])
