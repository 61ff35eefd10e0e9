"""The page of what is wrong now, with the next step as a button."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from inventory import clock
from inventory.errors import Refused
from volumes import acknowledgements
from volumes.console.frame.page import fragment, page, part_of, viewing
from volumes.console.frame.permissions import Right, may
from volumes.console.frame.pills import BAD, WARN, Pill
from volumes.console.pages import overview
from volumes.console.verbs import run
from volumes.console.verbs.verb import Verb
from volumes.reports import problems
from volumes.reports.problems import Risk, causes, path_problems
from volumes.reports.problems.causes import Card, Victims
from volumes.reports.problems.hardware_problems import SERVERS
from volumes.reports.problems.volume_problems import IN_ERROR, KINDS, WAITS
from volumes.reports.problems.work_problems import STUCK

SHOWN = 50
"""Causes on a page: more are neither read nor sent anew every few seconds with pleasure."""
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
    Risk.MENDING: Pill("being mended", WARN),
}
LISTS = {
    Risk.UNEQUAL: ("admin:volumes_unequalblock_changelist", "?state__exact=open"),
    Risk.MENDING: ("admin:volumes_unequalblock_changelist", "?state__exact=open"),
    Risk.STRANGE: ("admin:volumes_orphan_changelist", ""),
    Risk.NETWORK: ("console:cluster", ""),
    Risk.REDUCED: ("admin:volumes_logicalvolume_changelist", "?replicas=fewer"),
}
"""Where to look at what is many at once: an address's name, and a filter."""
VOLUMES = "admin:volumes_logicalvolume_changelist"
MANY = {
    KINDS[Risk.UNREACHABLE]: (VOLUMES, "?replicas=0&lost={}"),
    KINDS[Risk.LAST_REPLICA]: (VOLUMES, "?replicas=1&lost={}"),
    KINDS[Risk.REDUCED]: (VOLUMES, "?replicas=reduced&lost={}"),
    WAITS: (VOLUMES, "?doing=waiting"),
    IN_ERROR: (VOLUMES, "?attached=error"),
    STUCK: ("admin:volumes_job_changelist", "?attention=needed"),
    SERVERS: ("console:cluster", ""),
}
"""The lists of victims, by what they suffer."""
PATHS = ("console:paths", "?cause={}")
MANY |= dict.fromkeys(path_problems.KINDS.values(), PATHS)


class AcknowledgeForm(forms.Form):
    """Why a problem is known, and for how long it is told apart."""

    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="What others should know: a ticket, who takes care, what was ordered.",
    )
    hours = forms.IntegerField(
        min_value=1,
        max_value=acknowledgements.MOST_HOURS,
        initial=24,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="1 hour to 30 days (720 hours). It is told again before, if it gets worse.",
    )


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
    return page(request, "console/problems.html", "Problems", **_context(request))


@viewing
@part_of("console:problems")
def live(request: HttpRequest) -> HttpResponse:
    """List what is wrong, for a page that is open already."""
    return fragment(request, "console/problems_live.html", **_context(request))


@viewing
def acknowledge(request: HttpRequest) -> HttpResponse:
    """Ask why and until when a problem is known, and take note of it."""
    if not may(request.user, Right.OPERATE):
        raise PermissionDenied
    key = request.POST.get("key") or request.GET.get("key", "")
    cards = causes.by_cause(problems.find())
    card = next((card for card in cards if card.key == key and card.problem.key), None)
    if card is None:
        messages.info(request, "That is not wrong any more.")
        return redirect("console:problems")
    form = AcknowledgeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        title = card.problem.title
        acknowledgements.acknowledge(key=key, title=title, risk=card.risk, **form.cleaned_data)
        overview.ANSWER.forget()
        return redirect("console:problems")
    return page(request, "console/acknowledge.html", "Acknowledge", card=card, form=form)


@viewing
@require_POST
def tell_again(request: HttpRequest) -> HttpResponse:
    """End an acknowledgement."""
    if not may(request.user, Right.OPERATE):
        raise PermissionDenied
    try:
        acknowledgements.tell_again(request.POST.get("key", ""))
        overview.ANSWER.forget()
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("console:problems")


def _context(request: HttpRequest) -> dict[str, Any]:
    cards = causes.by_cause(problems.find())
    told, known = causes.split(cards, acknowledgements.current(clock.now()))
    shown = Paginator(told, SHOWN).get_page(request.GET.get("p"))
    by_risk = Counter(card.risk for card in told)
    return {
        "shown": shown,
        "lines": [_line(request, card) for card in shown],
        "tallies": [(RISKS[risk], by_risk[risk]) for risk in sorted(by_risk)],
        "known": [(_line(request, card), row) for card, row in known],
        "operates": may(request.user, Right.OPERATE),
    }


def _line(request: HttpRequest, card: Card) -> Line:
    problem, about = card.problem, card.problem.about
    verb = run.VERBS.get(problem.verb)
    allowed = verb is not None and about is not None and may(request.user, verb.right)
    act = ""
    if verb and about and allowed:
        act = run.address(verb.name, about.pk, reverse("console:problems"))
    is_of_paths = problem.kind in path_problems.KINDS.values()
    name, which = PATHS if is_of_paths else LISTS.get(problem.risk, ("", ""))
    elsewhere = reverse(name) + which.format(card.key) if name else ""
    url = run.row_url(about) if about else elsewhere
    see = [(run.name_of(row), run.row_url(row)) for row in problem.see]
    shown = [_suffering(victims, card.key) for victims in card.victims]
    return Line(card, RISKS[card.risk], url, verb if allowed else None, act, see, shown)


def _suffering(victims: Victims, key: str) -> Suffering:
    rows = [(run.name_of(row), run.row_url(row)) for row in victims.rows]
    name, which = MANY.get(victims.kind, ("", ""))
    url = reverse(name) + which.format(key) if name and victims.count > len(rows) else ""
    return Suffering(RISKS[victims.risk], victims, rows, url)
