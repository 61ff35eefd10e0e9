"""What if this died: the choice of what, and what it would mean."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from inventory.models import Disk, HeadServer, StorageServer
from volumes.console.frame.page import number
from volumes.reports import loss
from volumes.reports.loss import FailureDomain, Loss, Volume

SHOWN = 20
"""Volumes that are named of those that would be lost or cut off."""
Place = HeadServer | StorageServer | Disk | FailureDomain
Choice = tuple[str, str]
"""A value of the form, and its text."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the death of a place would do."""

    place: Place
    loss: Loss

    @property
    def is_head(self) -> bool:
        """Tell whether it serves volumes and has no data."""
        return isinstance(self.place, HeadServer)

    @property
    def is_row(self) -> bool:
        """Tell whether it has a page."""
        return not isinstance(self.place, FailureDomain)

    @property
    def name(self) -> str:
        """Name it as people do."""
        if isinstance(self.place, HeadServer | StorageServer):
            return self.place.label
        return str(self.place)

    @property
    def lost(self) -> list[Volume]:
        """The first of the volumes that would be lost."""
        return list(self.loss.lost[:SHOWN])

    @property
    def cut_off(self) -> list[Volume]:
        """The first of the volumes that would be cut off from their users."""
        return list(self.loss.cut_off[:SHOWN])


def context(request: HttpRequest) -> dict[str, Any]:
    """Give a page the places to choose from, and the answer for the one that was chosen."""
    storages = list(StorageServer.objects.order_by("site", "rack", "pk"))
    heads = list(HeadServer.objects.order_by("pk"))
    dies = request.GET.get("dies", "")
    place = _find(dies, storages, heads)
    groups = [
        ("Sites and racks", _domains(storages)),
        ("Storage servers", [(f"storage-{row.pk}", row.label) for row in storages]),
        ("Head servers", [(f"head-{row.pk}", row.label) for row in heads]),
    ]
    if isinstance(place, Disk):
        groups.append(("Disks", [(dies, f"{place} of {place.server.label}")]))
    return {
        "groups": [group for group in groups if group[1]],
        "dies": dies,
        "foreseen": Foreseen(place, loss.foresee(place)) if place else None,
        "nothing_there": bool(dies) and place is None,
    }


def _domains(storages: list[StorageServer]) -> list[Choice]:
    """Offer what has more than one server, each named by one of them."""
    racks = {(row.site, row.rack): row for row in reversed(storages)}
    sites = {row.site: row for row in reversed(storages)}
    found: list[Choice] = []
    if len(sites) > 1:
        found += [(f"site-of-{row.pk}", str(_site(row))) for row in reversed(sites.values())]
    if len(racks) > 1:
        found += [(f"rack-of-{row.pk}", str(_rack(row))) for row in reversed(racks.values())]
    return found


def _site(row: StorageServer) -> FailureDomain:
    return FailureDomain(row.site)


def _rack(row: StorageServer) -> FailureDomain:
    return FailureDomain(row.site, row.rack)


def _find(dies: str, storages: list[StorageServer], heads: list[HeadServer]) -> Place | None:
    """Find what an address names; None for what is not there."""
    kind, _, text = dies.rpartition("-")
    pk = number(text)
    if kind == "disk":
        return Disk.objects.select_related("server").filter(pk=pk).first()
    if kind == "head":
        return next((row for row in heads if row.pk == pk), None)
    server = next((row for row in storages if row.pk == pk), None)
    if server is None:
        return None
    of_server: dict[str, Place] = {
        "storage": server,
        "site-of": _site(server),
        "rack-of": _rack(server),
    }
    return of_server.get(kind)
