"""The page of paths: heads by storage servers, by both networks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from inventory.models import HeadServer, StorageServer
from volumes.console.frame.page import fragment, page, part_of, viewing
from volumes.console.frame.pills import BAD, IDLE, OK, WARN, Pill
from volumes.reports import paths
from volumes.reports.networks import NAMES
from volumes.reports.paths import Matrix, Path, State

PER_PAGE = 50
"""Storage servers; heads are all there, a few dozen at most."""
TOLD = 12
"""Paths that are not well and are told in words."""
TONES = {State.OK: OK, State.SLOW: WARN, State.DOWN: BAD, State.UNKNOWN: IDLE}
MARKS = {State.OK: "✓", State.SLOW: "~", State.DOWN: "✕", State.UNKNOWN: "?", State.NONE: ""}


@dataclass(frozen=True, slots=True)
class Row:
    """A storage server, and its cells as HTML: there may be thousands."""

    server: StorageServer
    cells: SafeString


@dataclass(frozen=True, slots=True)
class Trouble:
    """A path that is not well."""

    head: HeadServer
    server: StorageServer
    network: str
    pill: Pill


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show the frame; what heads tell comes after it, for to ask them takes a moment."""
    return page(request, "console/paths.html", "Paths", query=request.GET.urlencode())


@viewing
@part_of("console:paths")
def live(request: HttpRequest) -> HttpResponse:
    """Ask the heads, and show what they tell."""
    pages = Paginator(StorageServer.objects.order_by("pk"), PER_PAGE)
    part = pages.get_page(request.GET.get("page"))
    found = paths.matrix(list(part))
    troubles = sorted(_troubles(found), key=lambda one: one.pill.tone != BAD)
    return fragment(
        request,
        "console/paths_live.html",
        heads=found.heads,
        unknown=[
            (head, found.unknown[head.pk]) for head in found.heads if head.pk in found.unknown
        ],
        rows=[Row(row.server, _cells(row.paths)) for row in found.rows],
        part=part,
        counts=_counts(found),
        troubles=troubles[:TOLD],
        more=len(troubles[TOLD:]),
    )


def _troubles(found: Matrix) -> Iterator[Trouble]:
    for row in found.rows:
        for head, ways in zip(found.heads, row.paths, strict=True):
            for name, path in zip(NAMES, ways, strict=True):
                if path.state in {State.SLOW, State.DOWN}:
                    yield Trouble(head, row.server, name, _pill(path))


def _counts(found: Matrix) -> list[tuple[Pill, int]]:
    counts = Counter(path.state for row in found.rows for ways in row.paths for path in ways)
    return [(Pill(state, tone), counts[state]) for state, tone in TONES.items() if counts[state]]


def _pill(path: Path) -> Pill:
    return Pill(str(path), TONES[path.state])


def _cells(ways: list[tuple[Path, ...]]) -> SafeString:
    return format_html_join("", "<td>{}</td>", ((_cell(both),) for both in ways))


def _cell(both: tuple[Path, ...]) -> SafeString:
    return format_html_join(
        "",
        '<i class="vs-p-{}" title="{}: {}">{}</i>',
        (
            (path.state, name, path, MARKS[path.state])
            for name, path in zip(NAMES, both, strict=True)
            if path.state != State.NONE
        ),
    )
