"""The page of what is wrong now, with the next step as a button."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from volumes.console.frame.page import fragment, page, part_of, viewing
from volumes.console.frame.permissions import Right, may
from volumes.console.frame.pills import BAD, WARN, Pill
from volumes.console.verbs import run
from volumes.console.verbs.verb import Verb
from volumes.reports import problems
from volumes.reports.problems import Risk, causes
from volumes.reports.problems.causes import Card, Victims
from volumes.reports.problems.hardware import SERVERS
from volumes.reports.problems.volumes import IN_ERROR, KINDS, WAITS
from volumes.reports.problems.work import STUCK

RISKS = {
    Risk.UNREACHABLE: Pill("data out of reach", BAD),
    Risk.LAST_REPLICA: Pill("last replica", BAD),
    Risk.UNEQUAL: Pill("replicas differ", BAD),
    Risk.BROKEN: Pill("snapshot lost", BAD),
    Risk.STRANGE: Pill("unknown here", BAD),
    Risk.STOPPED: Pill("stopped", BAD),
    Risk.FAILED: Pill("failed", WARN),
    Risk.NETWORK: Pill("one network", WARN),
    Risk.REDUCED: Pill("reduced", WARN),
    Risk.WEAR: Pill("wear", WARN),
}
LISTS = {
    Risk.UNEQUAL: ("admin:volumes_unequalblock_changelist", "?state__exact=open"),
    Risk.STRANGE: ("admin:volumes_orphan_changelist", ""),
    Risk.NETWORK: ("console:cluster", ""),
    Risk.REDUCED: ("admin:volumes_logicalvolume_changelist", "?replicas=fewer"),
}
"""Where to look at what is many at once: an address's name, and a filter."""
VOLUMES = "admin:volumes_logicalvolume_changelist"
MANY = {
    KINDS[Risk.UNREACHABLE]: (VOLUMES, "?replicas=0&lost={}"),
    KINDS[Risk.LAST_REPLICA]: (VOLUMES, "?replicas=1&lost={}"),
    KINDS[Risk.REDUCED]: (VOLUMES, "?replicas=fewer&lost={}"),
    WAITS: (VOLUMES, "?doing=waiting"),
    IN_ERROR: (VOLUMES, "?attached=error"),
    STUCK: ("admin:volumes_job_changelist", "?attention=needed"),
    SERVERS: ("console:cluster", ""),
}
"""The lists of victims, by what they suffer."""


@dataclass(frozen=True, slots=True)
class Suffering:
    """Victims of one kind as they are shown; `url` leads to the list of all of them, if any."""

    pill: Pill
    victims: Victims
    rows: list[tuple[str, str]]
    url: str


@dataclass(frozen=True, slots=True)
class Line:
    """A cause as it is shown; `act` leads to its next step, if this person may take it."""

    card: Card
    pill: Pill
    url: str
    verb: Verb | None
    act: str
    see: list[tuple[str, str]]
    sufferings: list[Suffering]


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """List what is wrong."""
    return page(request, "console/problems.html", "Problems", lines=_lines(request))


@viewing
@part_of("console:problems")
def live(request: HttpRequest) -> HttpResponse:
    """List what is wrong, for a page that is open already."""
    return fragment(request, "console/problems_live.html", lines=_lines(request))


def _lines(request: HttpRequest) -> list[Line]:
    return [_line(request, card) for card in causes.by_cause(problems.find())]


def _line(request: HttpRequest, card: Card) -> Line:
    problem, about = card.problem, card.problem.about
    verb = run.VERBS.get(problem.verb)
    allowed = verb is not None and about is not None and may(request.user, verb.right)
    act = ""
    if verb and about and allowed:
        act = run.address(verb.name, about.pk, reverse("console:problems"))
    name, which = LISTS.get(problem.risk, ("", ""))
    elsewhere = reverse(name) + which if name else ""
    url = run.row_url(about) if about else elsewhere
    see = [(run.name_of(row), run.row_url(row)) for row in problem.see]
    shown = [_suffering(victims, card.key) for victims in card.victims]
    return Line(card, RISKS[card.risk], url, verb if allowed else None, act, see, shown)


def _suffering(victims: Victims, key: str) -> Suffering:
    rows = [(run.name_of(row), run.row_url(row)) for row in victims.rows]
    name, which = MANY.get(victims.kind, ("", ""))
    url = reverse(name) + which.format(key) if name and victims.count > len(rows) else ""
    return Suffering(RISKS[victims.risk], victims, rows, url)


def badge(request: HttpRequest) -> str:
    """Mark the sidebar's entry on every page while something is wrong."""
    if not may(request.user, Right.VIEW):
        return ""
    return "!" if problems.is_anything_wrong() else ""
