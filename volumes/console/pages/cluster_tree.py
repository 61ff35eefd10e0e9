"""The cluster as a tree: site, rack, server, disk, extents; branches are loaded when opened."""

from dataclasses import dataclass
from itertools import groupby
from zlib import crc32

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from inventory.models import Disk, HeadServer, StorageServer
from inventory.servers import cluster
from volumes.console.frame import address_states
from volumes.console.frame.page import fragment, number, page, part_of, viewing
from volumes.console.frame.pills import Pill, place_pill, server_pill
from volumes.console.pages import hardware_pages
from volumes.console.verbs import run
from volumes.models import Attachment
from volumes.reports import capacity, care, tree

UNNAMED = "no name"
MOST_OPEN = 50
"""Servers whose disks are shown anew at once."""


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A server as a branch."""

    server: HeadServer | StorageServer
    pill: Pill
    doors: list[address_states.ShownAddress]
    children: int
    rebuilds: int
    room: capacity.ServerRoom = capacity.NO_ROOM


@dataclass(frozen=True, slots=True)
class Rack:
    """A rack as a branch."""

    name: str
    servers: list[ServerLine]


@dataclass(frozen=True, slots=True)
class Site:
    """A site as a branch."""

    name: str
    racks: list[Rack]


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show the tree down to its servers."""
    lines = _storages()
    return page(
        request,
        "console/cluster.html",
        "Cluster",
        sites=_sites(lines),
        shape=_shape(lines),
        heads=_heads(),
        buttons=run.buttons(request, cluster(), back=reverse("console:cluster")),
    )


@viewing
@part_of("console:cluster")
def live(request: HttpRequest) -> HttpResponse:
    """Show the lines of the tree anew, and those of the disks below the servers that are open.

    The page is loaded as a whole where the tree has grown or lost a branch meanwhile.
    """
    lines = _storages()
    opened = [number(text) for text in request.GET.getlist("open")[:MOST_OPEN]]
    answer = fragment(
        request,
        "console/cluster_parts.html",
        servers=lines,
        disks=hardware_pages.disk_lines(opened),
        heads=_heads(),
    )
    if request.GET.get("shape") != _shape(lines):
        answer.headers["HX-Refresh"] = "true"
    return answer


def _shape(lines: list[ServerLine]) -> str:
    """Tell trees with other branches apart."""
    branches = [(line.server.pk, line.server.site, line.server.rack) for line in lines]
    return f"{crc32(repr(branches).encode()):08x}"


def _storages() -> list[ServerLine]:
    answering, sums = address_states.of_servers("storage"), capacity.of_servers()
    rebuilds, cared = tree.rebuilds_by_storage(), care.under_way()
    counts = dict(Disk.objects.values_list("server").annotate(Count("pk")).order_by())
    return [
        ServerLine(
            row,
            place_pill(
                row.priority,
                row.silent_since,
                care.of_server(cared, row.pk),
                rebuilds.get(row.pk, 0),
            ),
            answering.get(row.pk, []),
            counts.get(row.pk, 0),
            rebuilds.get(row.pk, 0),
            sums.get(row.pk, capacity.NO_ROOM),
        )
        for row in StorageServer.objects.order_by("site", "rack", "pk")
    ]


def _heads() -> list[ServerLine]:
    answering, rebuilds = address_states.of_servers("head"), tree.rebuilds_by_head()
    counts = dict(Attachment.objects.values_list("head").annotate(Count("pk")).order_by())
    return [
        ServerLine(
            row,
            server_pill(row.priority, row.silent_since),
            answering.get(row.pk, []),
            counts.get(row.pk, 0),
            rebuilds.get(row.pk, 0),
        )
        for row in HeadServer.objects.order_by("pk")
    ]


def _sites(lines: list[ServerLine]) -> list[Site]:
    return [
        Site(
            site or UNNAMED,
            [
                Rack(rack or UNNAMED, list(servers))
                for rack, servers in groupby(of_site, key=lambda line: line.server.rack)
            ],
        )
        for site, of_site in groupby(lines, key=lambda line: line.server.site)
    ]
