"""One way to do something: preview, confirm, do it row by row, say what came of it."""

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from inventory.errors import Refused
from inventory.models import Cluster
from volumes import labels
from volumes.console.frame.page import number, page, viewing
from volumes.console.frame.permissions import may
from volumes.console.verbs import (
    hardware_verbs,
    job_verbs,
    orphan_verbs,
    scrub_verbs,
    volume_verbs,
)
from volumes.console.verbs.verb import Verb, Wish

VERBS = {
    verb.name: verb
    for table in (volume_verbs, hardware_verbs, job_verbs, scrub_verbs, orphan_verbs)
    for verb in table.VERBS
}
MOST = 200
"""Rows that may be chosen at once."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row with what will become of it: `why_not` is empty where the verb will be done."""

    row: Any
    name: str
    url: str
    why_not: str


@viewing
def act(request: HttpRequest, verb: str) -> HttpResponse:
    """Show what will be done to the chosen rows and what will not; do it once confirmed."""
    wanted = VERBS.get(verb)
    if wanted is None:
        raise Http404
    if not may(request.user, wanted.right):
        raise PermissionDenied
    chosen = _choose(wanted, request)
    willing = [choice.row for choice in chosen if not choice.why_not]
    stakes = wanted.at_stake(willing) if willing else []
    phrase = _phrase(wanted, willing) if willing and (stakes or wanted.asks) else ""
    form = wanted.form(request.POST or None) if wanted.form else None
    typed_right = not phrase or request.POST.get("phrase", "").strip() == phrase
    if request.method == "POST" and willing and typed_right and (not form or form.is_valid()):
        wish = Wish(form.cleaned_data if form else {})
        return _perform(request, wanted, willing, wish)
    context: dict[str, Any] = {
        "chosen": chosen,
        "willing": willing,
        "stakes": stakes,
        "phrase": phrase,
    }
    context["mistyped"] = request.method == "POST" and not typed_right
    context["hits"] = labels.in_texts(wanted.hits(willing)) if willing else []
    context |= {"verb": wanted, "form": form, "back": back_of(request, wanted)}
    return page(request, "console/act.html", wanted.title, **context)


class Button(NamedTuple):
    """A verb with the address of its preview, or the reason why it is not to be had now."""

    verb: Verb
    url: str
    why_not: str = ""


def buttons(request: HttpRequest, row: Model, back: str = "") -> list[Button]:
    """List what this person may do to a row now, each with the address of its preview.

    The way back is the row's page unless told otherwise, never the address that was asked for: a
    page's live parts have addresses of their own. What is safe comes first.
    """
    possible = [verb for verb in VERBS.values() if isinstance(row, verb.model)]
    possible.sort(key=lambda verb: verb.danger)
    said = [
        (verb, verb.refuse([row]).get(row.pk, ""))
        for verb in possible
        if may(request.user, verb.right)
    ]
    shown = [
        Button(verb, address(verb.name, row.pk, back or row_url(row)), why_not)
        for verb, why_not in said
        if verb.explains or not why_not
    ]
    return sorted(shown, key=lambda button: bool(button.why_not))


def address(verb: str, pk: int, back: str) -> str:
    """Write the address of a verb's preview for one row, and where its "Back" leads."""
    return f"{reverse('console:act', args=[verb])}?on={pk}&back={quote(back)}"


def row_url(row: Model) -> str:
    """Write the address of a row's page."""
    names = {"cluster": "admin:index"}
    meta = row._meta  # noqa: SLF001  Django's documented API
    if meta.model_name in names:
        return reverse(names[meta.model_name])
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def _choose(verb: Verb, request: HttpRequest) -> list[Chosen]:
    asked = request.POST.getlist("on") or request.GET.getlist("on")
    numbers = [number(text) for text in asked[:MOST]]
    rows = list(verb.model._default_manager.filter(pk__in=numbers).order_by("pk"))  # noqa: SLF001
    if not rows:
        raise Http404
    refused = verb.refuse(rows)
    if verb.one_only:
        refused |= {row.pk: "one at a time" for row in rows[1:]}
    return [Chosen(row, name_of(row), row_url(row), refused.get(row.pk, "")) for row in rows]


def name_of(row: Any) -> str:
    """Name a row as people do: volumes and servers by their names, a job by its subject."""
    told = (getattr(row, member, "") for member in ("label", "name", "subject"))
    return next(filter(None, told), str(row))


def _phrase(verb: Verb, rows: list[Any]) -> str:
    """Choose what has to be typed: the name, or the number of what is hit."""
    asks = verb.asks or name_of
    return asks(rows[0]) if len(rows) == 1 else f"all {len(rows)}"


def _perform(request: HttpRequest, verb: Verb, rows: list[Any], wish: Wish) -> HttpResponse:
    """Do it to each row. Who chose one is led to its page, who chose many goes back to them.

    No message tells of a job that began: the page of what it is about does, while it is news.
    """
    done = [row for row in rows if _do(request, verb, row, wish)]
    if len(rows) == 1:
        return redirect(_after(request, verb, rows[0]))
    if done:
        messages.success(request, f"{verb.title}: done or begun for {len(done)} of {len(rows)}.")
    return redirect(back_of(request, verb))


def _do(request: HttpRequest, verb: Verb, row: Any, wish: Wish) -> bool:
    """Do it to one row, through the use case; what is declined is shown as its sentence."""
    name, alone = name_of(row), len(request.POST.getlist("on")) == 1
    try:
        job = verb.do(row, wish)
    except Refused as refusal:
        messages.error(request, f"{verb.title} {name}: {refusal}")
        return False
    if job is None and alone:
        messages.success(request, f"{verb.title} {name}: done.")
    return True


def _after(request: HttpRequest, verb: Verb, row: Any) -> str:
    """Say where to go after something was done to one row: to its page, if it is still there."""
    if verb.model is Cluster:
        return back_of(request, verb)
    there = verb.model._default_manager.filter(pk=row.pk).exists()  # noqa: SLF001
    return row_url(row) if there else _list_url(verb)


def back_of(request: HttpRequest, verb: Verb) -> str:
    """Go where the person came from, if that is here, else to the list."""
    back = request.POST.get("back") or request.GET.get("back", "")
    if back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return back
    return _list_url(verb)


def _list_url(verb: Verb) -> str:
    """Write the address of the list that a verb's rows are in."""
    meta = verb.model._meta  # noqa: SLF001
    if verb.model is Cluster:
        return reverse("admin:index")
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
