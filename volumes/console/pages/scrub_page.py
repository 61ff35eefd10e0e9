"""What differs between replicas, and how far the comparing of a volume is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Min, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from agents.checksums import UNREADABLE
from inventory import servers
from volumes import labels
from volumes.console.frame.page import number, page
from volumes.console.frame.pills import BAD, IDLE, OK, Pill
from volumes.console.verbs import run
from volumes.console.verbs.run import Button
from volumes.models import BlockContent, Job, LogicalVolume, UnequalBlock

STATES = {
    UnequalBlock.State.OPEN: Pill("differs", BAD),
    UnequalBlock.State.MENDED: Pill("mended", OK),
    UnequalBlock.State.GONE: Pill("overwritten since", IDLE),
    UnequalBlock.State.DISMISSED: Pill("dismissed", IDLE),
}


@dataclass(frozen=True, slots=True)
class ContentLine:
    """What one replica has, and the buttons to take it."""

    content: BlockContent
    server: str
    buttons: list[Button]

    @property
    def text(self) -> str:
        """Say it for people."""
        if self.content.digest == UNREADABLE:
            return "cannot be read: the disk reports an error"
        return self.content.digest or "zeros"

    @property
    def replica(self) -> str:
        """Name the replica."""
        return f"dext-{self.content.dextid:08x}"


@dataclass(frozen=True, slots=True)
class ScrubSummary:
    """How the comparing of a volume's replicas stands."""

    last: datetime | None
    running: int
    done_mib: int
    total_mib: int
    unequal: int

    @property
    def percent_text(self) -> str:
        """How far it is."""
        return f"{100 * self.done_mib // self.total_mib if self.total_mib else 0} %"


def show(request: HttpRequest, object_id: str) -> HttpResponse:
    """Show one finding: where, since when, and what each replica has."""
    found = UnequalBlock.objects.select_related("mirror__volume", "job")
    block = get_object_or_404(found, pk=number(object_id))
    contents = list(block.contents.select_related("block").order_by("dextid"))
    named = labels.storages(one.server_id for one in contents)
    return page(
        request,
        "console/unequal_block.html",
        f"Replicas of {block.mirror.volume.name} differ",
        finding=block,
        volume=block.mirror.volume,
        state=STATES[UnequalBlock.State(block.state)],
        lines=[
            ContentLine(one, named[one.server_id], run.buttons(request, one)) for one in contents
        ],
    )


def lead_from_content(object_id: str) -> HttpResponse:
    """Lead from what a replica has to the finding."""
    content = get_object_or_404(BlockContent, pk=number(object_id))
    return redirect("admin:volumes_unequalblock_change", content.block_id)


def of_volume(volume: LogicalVolume) -> ScrubSummary:
    """Sum up a volume's scrubs for its page."""
    jobs = Job.objects.filter(kind=Job.Kind.SCRUB, state=Job.State.OPEN, mirror__volume=volume)
    sums = jobs.aggregate(done=Sum("done_mib"), total=Sum("total_mib"))
    unequal = UnequalBlock.objects.filter(mirror__volume=volume, state=UnequalBlock.State.OPEN)
    return ScrubSummary(
        volume.mirrors.aggregate(last=Min("scrubbed"))["last"],
        jobs.count(),
        sums["done"] or 0,
        sums["total"] or 0,
        unequal.count(),
    )


def cluster_context(request: HttpRequest) -> dict[str, Any]:
    """Give the list of findings the buttons about all scrubs."""
    cluster, back = servers.cluster(), reverse("admin:volumes_unequalblock_changelist")
    scrubs = {"pause-scrubs", "resume-scrubs"}
    offered = [one for one in run.buttons(request, cluster, back) if one.verb.name in scrubs]
    return {"buttons": offered, "paused": cluster.scrubs_paused}
