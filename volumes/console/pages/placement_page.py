"""Room as it is, a dry run of a new volume, and what would become of data if something died."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from inventory import recovery
from inventory.errors import NoSpace
from inventory.models import StorageServer
from volumes.console.frame.page import fragment, page, part_of, viewing
from volumes.console.pages import what_if
from volumes.lifecycle import volumes
from volumes.placement import allocation, candidates, forecast, policy
from volumes.placement.candidates import Candidate
from volumes.placement.layout import mirror_sizes
from volumes.placement.policy import Placed, Room
from volumes.reports import room
from volumes.reports.room import Fit
from volumes.reports.shared import Shared

SHOWN = 20
"""So many are named of those that were chosen, could have been, or were refused."""


class DryRunForm(forms.Form):
    """What a volume would be."""

    capacity_gb = forms.IntegerField(
        min_value=volumes.CAPACITY_GB[0],
        max_value=volumes.CAPACITY_GB[-1],
        label="Capacity in GiB",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    redundancy = forms.IntegerField(
        min_value=volumes.REDUNDANCY[0],
        max_value=volumes.REDUNDANCY[-1],
        label="Replicas",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Each on another server.",
    )
    tags = forms.CharField(
        max_length=256,
        required=False,
        label="Disk tags",
        widget=UnfoldAdminTextInputWidget,
        help_text="Only disks with all of these words.",
    )


INITIAL = {"capacity_gb": 10, "redundancy": 3, "tags": ""}


@dataclass(frozen=True, slots=True)
class DryRun:
    """What became of every disk, and the room that such volumes have; `why_not` if none has."""

    mirrors: int
    servers: int
    domains: int
    raw_gb: int
    why_not: str
    refused: str
    disks: int
    shown: list[tuple[Candidate, StorageServer | None]]
    more: int
    fit: Fit


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show all of it; the forms ask for this page again, so that an answer has an address."""
    rooms = allocation.rooms()
    asked = "capacity_gb" in request.GET
    form = DryRunForm(request.GET if asked else None, initial=INITIAL)
    given: dict[str, Any] | None = INITIAL
    if asked:
        given = form.cleaned_data if form.is_valid() else None
    return page(
        request,
        "console/placement.html",
        "Placement",
        form=form,
        in_recovery=bool(recovery.why()),
        run=_dry_run(rooms, **given) if given else None,
        domains=forecast.domains(rooms),
        kept=[(name, request.GET[name]) for name in INITIAL if name in request.GET],
        **what_if.context(request),
    )


@viewing
@part_of("admin:index")
def outlook(request: HttpRequest) -> HttpResponse:
    """Show the room there is, as a part of the first page."""
    return fragment(request, "console/outlook.html", outlook=OUTLOOK.get())


OUTLOOK = Shared(room.outlook)
"""All who look at the first page see the same."""


def _dry_run(rooms: list[Room], *, capacity_gb: int, redundancy: int, tags: str) -> DryRun:
    """Place such a volume without writing anything, and tell what became of every disk."""
    placed: list[Placed] = []
    why_not = ""
    try:
        placed = policy.place(rooms, mirror_sizes(capacity_gb), redundancy, tags=tags.split())
    except NoSpace as refusal:
        why_not = str(refusal)
    judged = candidates.judge(rooms, policy.filters(tags.split()), placed)
    refused = Counter[str]()
    for one in judged:
        refused[one.refusal] += len(one.disks)
    del refused[""]
    shown = _first_of_each(judged)
    names = StorageServer.objects.in_bulk([one.server for one in shown])
    used = {one.server: one.domain for one in judged if one.pieces}
    return DryRun(
        mirrors=len(placed),
        servers=len(used),
        domains=len(set(used.values())),
        raw_gb=sum(mirror.size_gb * len(mirror.disks) for mirror in placed),
        why_not=why_not,
        refused=", ".join(f"{count} {_are(count)} {name}" for name, count in refused.items()),
        disks=len(rooms),
        shown=[(one, names.get(one.server)) for one in shown],
        more=len(judged) - len(shown),
        fit=room.fits(rooms, [redundancy], tags=tags)[0],
    )


def _first_of_each(judged: list[Candidate]) -> list[Candidate]:
    """Leave of each outcome those that come first."""
    seen = Counter[tuple[bool, bool]]()
    shown = []
    for one in judged:
        outcome = (one.passed, bool(one.pieces))
        seen[outcome] += 1
        if seen[outcome] <= SHOWN:
            shown.append(one)
    return shown


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
