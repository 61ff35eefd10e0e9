"""The way from an empty cluster to its first volume, with what is done already."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest
from django.urls import reverse

from inventory.command_line import manage
from inventory.models import ALIVE, Disk, Extent, HeadServer, Member, StorageServer
from volumes.console.frame.formats import size
from volumes.console.frame.permissions import administers, operates
from volumes.models import Job
from volumes.reports import progress

FEWEST, USUAL = 2, 3
"""Storage servers that volumes need at least, and for the replicas that most have."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One thing to do; `url` leads to where this person may do it."""

    title: str
    done: bool
    detail: str
    url: str = ""
    verb: str = ""
    is_next: bool = False


def context(request: HttpRequest) -> dict[str, Any]:
    """Give the steps to the page of a cluster without volumes."""
    found = list(_steps(request))
    first = next((step for step in found if not step.done), None)
    steps = [replace(step, is_next=step is first) for step in found]
    return {"steps": steps, "steps_done": sum(step.done for step in steps)}


def _steps(request: HttpRequest) -> Iterator[FirstStep]:
    """Look at what is there; in a constant number of queries."""
    storages = StorageServer.objects.filter(priority__in=ALIVE).count()
    heads = HeadServer.objects.filter(priority__in=ALIVE).count()
    joined = bool(storages or heads)
    yield from _joining(request, joined=joined)
    yield _storage_step(storages)
    yield from _disk_steps()
    yield FirstStep(
        "A head server",
        heads > 0,
        f"{heads} there." if heads else "A machine that uses volumes; it may store some as well.",
    )
    yield _volume_step(request)


def _joining(request: HttpRequest, *, joined: bool) -> Iterator[FirstStep]:
    able = settings.VASTSKY_IDENTITY is not None
    yield FirstStep(
        "Nodes can join",
        able or joined,
        "The manager has an authority that vouches for nodes."
        if able
        else "The manager needs a certificate with its authority's key, and speaks TLS: "
        f"{manage('certificate manager ADDRESS --manager')}, then VASTSKY_TLS_CERTIFICATE, "
        "_KEY and _AUTHORITY. Or configure nodes by hand, as below.",
    )
    invited = Member.objects.count()
    may = able and administers(request)
    yield FirstStep(
        "A join string for each machine",
        bool(invited or joined),
        f"{invited} made." if invited else "One line to paste on the machine; it works once.",
        reverse("node-invite") if may else "",
        "Make one" if not invited else "Make another",
    )


def _storage_step(count: int) -> FirstStep:
    needed = f"{USUAL} replicas need {USUAL} storage servers, {FEWEST} need {FEWEST}."
    return FirstStep(
        "Storage servers",
        count >= USUAL,
        f"{count} of {USUAL} there. {needed}" if count else needed,
    )


def _disk_steps() -> Iterator[FirstStep]:
    disks = Disk.objects.count()
    yield FirstStep(
        "Disks",
        disks > 0,
        f"{disks} there."
        if disks
        else "A storage server brings those that its join line or its settings name.",
    )
    free = Extent.objects.filter(status=Extent.Status.FREE)
    free_gb = free.aggregate(gb=Sum("size_gb"))["gb"] or 0
    shred = progress.of_kind(Job.Kind.SHRED)
    zeroed = f"{shred.progress.percent} % so far." if shred.count else ""
    yield FirstStep(
        "Zeroed space",
        free_gb > 0,
        f"{size(free_gb)} are ready."
        if free_gb
        else f"New disks are zeroed first, so that nobody reads what was on them. {zeroed}",
    )


def _volume_step(request: HttpRequest) -> FirstStep:
    return FirstStep(
        "The first volume",
        done=False,
        detail="Create it, then attach it to a head server: it appears there under /dev/vas.",
        url=reverse("console:create") if operates(request) else "",
        verb="Create it",
    )
