"""A verb for all volumes that a list's filters match: one preview, one job, a result for each."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Value, When
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect

from inventory.errors import Refused
from volumes.console.frame import csv_export
from volumes.console.frame.page import page, viewing
from volumes.console.frame.permissions import may
from volumes.console.frame.pills import BAD, BUSY, IDLE, OK, Pill
from volumes.console.verbs.run import VERBS, back_of, row_url
from volumes.console.verbs.verb import Verb
from volumes.lifecycle import batches
from volumes.models import Batch, BatchRow, Job, LogicalVolume

BATCHES = {
    "attach": Batch.Kind.ATTACH,
    "detach": Batch.Kind.DETACH,
    "delete-volume": Batch.Kind.DELETE,
}
SHOWN = 200
"""Volumes of a preview, or of a job's page, that are named."""
STATES = {
    BatchRow.State.WAITING: Pill("waiting", IDLE),
    BatchRow.State.BEGUN: Pill("under way", BUSY),
    BatchRow.State.DONE: Pill("done", OK),
    BatchRow.State.REFUSED: Pill("not done", BAD),
}
COLUMNS = ("volume", "name", "state", "job", "text")


@dataclass(frozen=True, slots=True)
class ShownBatch:
    """What became of the volumes of a batch: how many of each, and the first, worst first."""

    counts: list[tuple[Pill, int]]
    rows: list[tuple[BatchRow, Pill]]
    total: int


class Matching(NamedTuple):
    """What a verb has to know of a volume to refuse it: of many thousands no more is read."""

    pk: int
    name: str
    origin_id: int | None


@viewing
def act(request: HttpRequest, verb: str) -> HttpResponse:
    """Show what will be done to all that match and what will not; begin it once confirmed.

    What matches by then may be more than what was shown: then it is shown anew instead.
    """
    wanted = VERBS.get(verb)
    if wanted is None or verb not in BATCHES:
        raise Http404
    if not may(request.user, wanted.right):
        raise PermissionDenied
    match = request.POST.get("match") or request.GET.get("match", "")
    rows = _matching(request, match)
    refused = _refused(wanted, rows)
    willing = [row for row in rows if row.pk not in refused]
    phrase = f"all {len(willing)}" if willing and wanted.danger else ""
    form = wanted.form(request.POST or None) if wanted.form else None
    posted = request.method == "POST"
    changed = posted and request.POST.get("shown") != _fingerprint(willing)
    mistyped = posted and bool(phrase) and request.POST.get("phrase", "").strip() != phrase
    if posted and willing and not changed and not mistyped and (not form or form.is_valid()):
        return _begin(request, wanted, willing, form.cleaned_data if form else {})
    reasons = _gathered(refused.values())
    context: dict[str, Any] = {"match": match, "total": len(rows), "willing": willing}
    context |= {"shown": _first(willing), "fingerprint": _fingerprint(willing)}
    context |= {"reasons": reasons[:SHOWN], "reason_count": len(reasons), "phrase": phrase}
    context |= {"changed": changed, "mistyped": mistyped and not changed, "form": form}
    context |= {"verb": wanted, "back": back_of(request, wanted)}
    return page(request, "console/act_on_all.html", f"{wanted.title} all that match", **context)


@viewing
def export(_: HttpRequest, job_id: int) -> StreamingHttpResponse:
    """Stream what became of each volume of a batch."""
    batch = get_object_or_404(Batch, pk=job_id)
    cells = batch.rows.order_by("pk").values_list(*COLUMNS).iterator(csv_export.CHUNK)
    return csv_export.stream(f"job-{job_id}", COLUMNS, cells)


def shown(job: Job) -> ShownBatch:
    """Read what became of the volumes of a batch."""
    rows = BatchRow.objects.filter(batch=job.pk)
    counts = Counter(rows.values_list("state", flat=True))
    order = (BatchRow.State.REFUSED, BatchRow.State.BEGUN)
    rank = Case(*(When(state=one, then=Value(n)) for n, one in enumerate(order)), default=Value(9))
    first = rows.order_by(rank, "pk")[:SHOWN]
    return ShownBatch(
        [(pill, counts[state]) for state, pill in STATES.items() if counts[state]],
        [(row, STATES[BatchRow.State(row.state)]) for row in first],
        counts.total(),
    )


def _matching(request: HttpRequest, match: str) -> list[Matching]:
    """Read all that the list of volumes shows with these filters, all pages of it."""
    asked = copy(request)
    asked.GET = QueryDict(match)
    listing = admin.site.get_model_admin(LogicalVolume)
    try:
        changelist = listing.get_changelist_instance(asked)
    except IncorrectLookupParameters:
        raise Http404 from None
    found = changelist.get_queryset(asked).order_by("pk")
    return list(map(Matching._make, found.values_list(*Matching._fields)))


def _refused(verb: Verb, rows: list[Matching]) -> dict[int, str]:
    """Tell which of them the verb would decline; it may speak of their origins as well."""
    said = verb.refuse(rows)
    return {row.pk: said[row.pk] for row in rows if row.pk in said}


def _first(rows: list[Matching]) -> list[LogicalVolume]:
    """Read those that are named."""
    return list(
        LogicalVolume.objects.filter(pk__in=[row.pk for row in rows[:SHOWN]]).order_by("pk")
    )


def _gathered(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """Count the reasons, most frequent first; those that differ in what follows a colon are one."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        kinds[reason.partition(": ")[0]].append(reason)
    counted = [(kind if len(set(same)) > 1 else same[0], len(same)) for kind, same in kinds.items()]
    return sorted(counted, key=lambda one: -one[1])


def _fingerprint(rows: list[Matching]) -> str:
    """Tell one choice of volumes from another."""
    return hashlib.sha256(",".join(str(row.pk) for row in rows).encode()).hexdigest()[:32]


def _begin(
    request: HttpRequest, verb: Verb, willing: list[Matching], values: dict[str, Any]
) -> HttpResponse:
    head = values["head"].pk if "head" in values else 0
    try:
        job = batches.request_batch(
            BATCHES[verb.name], willing, head=head, force=bool(values.get("force"))
        )
    except Refused as refusal:
        messages.error(request, f"{verb.title}: {refusal}")
        return redirect(back_of(request, verb))
    return redirect(row_url(job))
