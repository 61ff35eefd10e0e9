"""What the box for finding shows, beneath it on any page, or as a page of its own."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from inventory.models import Disk, HeadServer, StorageServer
from volumes.console.frame.formats import named_first
from volumes.console.frame.page import fragment, is_asked_by_page, page, viewing
from volumes.console.frame.pills import ATTACHMENTS, Pill, place_pill, server_pill
from volumes.console.pages import job_page
from volumes.console.verbs.run import row_url
from volumes.models import Attachment, Job, LogicalVolume
from volumes.reports import search


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that was found."""

    name: str
    about: str
    pill: Pill
    url: str


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """The hits of one kind; `all_of_them` leads to the list of them, where there are more."""

    title: str
    icon: str
    hits: list[Hit]
    all_of_them: str


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show what was found; who asked for an id, or for all that there is, is led there."""
    asked = search.read(request.GET.get("q", ""))
    groups = [_group(found, asked.text) for found in search.find(asked)]
    hits = [hit for group in groups for hit in group.hits]
    context = {"groups": groups, "hits": hits, "asked": asked.text}
    if is_asked_by_page(request):
        return fragment(request, "console/found.html", **context)
    if len(hits) == 1 or (hits and asked.prefix):
        return redirect(hits[0].url)
    return page(request, "console/find.html", "Find", **context)


def _group(found: search.Found, asked: str) -> FoundGroup:
    title, icon, describe = KINDS[found.model]
    meta = found.model._meta  # noqa: SLF001  Django's documented API
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    more = f"{url}?{urlencode({'q': asked})}" if found.more else ""
    return FoundGroup(title, icon, [describe(row) for row in found.rows], more)


def _volume(volume: LogicalVolume) -> Hit:
    attached: Attachment | None = getattr(volume.origin or volume, "attachment", None)
    state = ATTACHMENTS[Attachment.State(attached.state)] if attached else ATTACHMENTS[""]
    about = [str(volume), f"snapshot of {volume.origin.name}" if volume.origin else ""]
    about += [f"on {attached.head.label}"] if attached else []
    return _hit(volume, volume.name, about, state)


def _server(server: Any) -> Hit:
    addresses = sorted(server.addresses.all(), key=lambda address: address.position)
    about = [str(server), *(address.address for address in addresses), server.site, server.rack]
    state = server_pill(server.priority, server.silent_since)
    return _hit(server, server.name or str(server), about, state)


def _disk(disk: Disk) -> Hit:
    about = [str(disk), f"in {disk.server.label}", disk.tags]
    return _hit(disk, disk.local_path, about, place_pill(disk.priority, None, None))


def _job(job: Job) -> Hit:
    return _hit(
        job,
        f"{job.kind} {named_first(job.subject)}",
        [f"job {job.pk}", job.actor],
        job_page.pill(job),
    )


def _hit(row: Model, name: str, about: list[str], pill: Pill) -> Hit:
    return Hit(name, " · ".join(filter(None, about)), pill, row_url(row))


KINDS: dict[type[Model], tuple[str, str, Any]] = {
    LogicalVolume: ("Volumes", "hard_drive", _volume),
    StorageServer: ("Storage servers", "dns", _server),
    HeadServer: ("Head servers", "computer", _server),
    Disk: ("Disks", "album", _disk),
    Job: ("Jobs", "checklist", _job),
}
