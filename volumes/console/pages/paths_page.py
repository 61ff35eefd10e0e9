"""The page of paths: heads by storage servers, by both networks."""

import re
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
from volumes.paths import matrix
from volumes.paths.matrix import Matrix, Path, Reached, State
from volumes.reports.networks import NAMES

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
    """A storage server that some heads do not reach well by one network."""

    server: StorageServer
    network: str
    pill: Pill
    first: HeadServer
    others: int


ENDS = re.compile(r"-(headserver|storageserver)-(\d{1,10})")
"""How the key of a problem names the ends of its paths."""


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show the frame; what heads tell comes after it, for to ask them takes a moment."""
    return page(request, "console/paths.html", "Paths", query=request.GET.urlencode())


@viewing
@part_of("console:paths")
def live(request: HttpRequest) -> HttpResponse:
    """Ask the heads, and show what they tell."""
    cause = request.GET.get("cause", "")
    found = _of_cause(matrix.read(), cause)
    pages = Paginator(found.rows, PER_PAGE)
    part = pages.get_page(request.GET.get("page"))
    troubles = sorted(_troubles(found), key=lambda one: (one.pill.tone != BAD, -one.others))
    return fragment(
        request,
        "console/paths_live.html",
        heads=found.heads,
        unknown=[
            (head, found.unknown[head.pk]) for head in found.heads if head.pk in found.unknown
        ],
        rows=[Row(row.server, _cells(row.paths)) for row in part],
        part=part,
        cause=cause,
        counts=_counts(found),
        troubles=troubles[:TOLD],
        more=len(troubles[TOLD:]),
    )


def _of_cause(found: Matrix, cause: str) -> Matrix:
    """Leave what belongs to a problem: paths of one head, or to one storage server, or all."""
    ends = {kind: int(number) for kind, number in ENDS.findall(cause)}
    chosen = [
        number
        for number, head in enumerate(found.heads)
        if ends.get("headserver") in {None, head.pk}
    ]
    rows = [
        Reached(row.server, [row.paths[number] for number in chosen])
        for row in found.rows
        if ends.get("storageserver") in {None, row.server.pk}
    ]
    return Matrix([found.heads[number] for number in chosen], rows, found.unknown)


def _troubles(found: Matrix) -> Iterator[Trouble]:
    for row in found.rows:
        for position, name in enumerate(NAMES):
            for state in (State.DOWN, State.SLOW):
                hit = [
                    head
                    for head, ways in zip(found.heads, row.paths, strict=True)
                    if ways[position].state == state
                ]
                if hit:
                    pill = Pill(state, TONES[state])
                    yield Trouble(row.server, name, pill, hit[0], len(hit) - 1)


def _counts(found: Matrix) -> list[tuple[Pill, int]]:
    counts = Counter(path.state for row in found.rows for ways in row.paths for path in ways)
    return [(Pill(state, tone), counts[state]) for state, tone in TONES.items() if counts[state]]


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
