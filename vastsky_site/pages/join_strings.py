"""Nodes in the console: join strings made and shown once, listed until they end, revoked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from agents.join_string import JoinString
from inventory.errors import Refused
from inventory.models import Member
from vastsky_site.access import members
from volumes.console.frame.formats import NOTHING
from volumes.console.frame.page import page, viewing
from volumes.console.frame.permissions import Right, may
from volumes.console.frame.pills import BAD, BUSY, IDLE, OK, WARN, Pill
from volumes.console.lists.listing import Listing, previewed
from volumes.console.verbs import run
from volumes.console.verbs.verb import Rows, Verb, Wish

MOST_HOURS = 30 * 24
SOON = timedelta(days=30)
"""A certificate that ends earlier has not been renewed as it should have been."""


class RekeyForm(forms.Form):
    """For how long a join string can be used, and where the node finds the manager."""

    hours = forms.IntegerField(
        min_value=1,
        max_value=MOST_HOURS,
        initial=24,
        label="Good for, in hours",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    urls = forms.CharField(
        max_length=500,
        label="Where the node reaches the manager",
        widget=UnfoldAdminTextInputWidget,
        help_text="https://HOST:PORT, several with commas: one in each network, of each manager.",
    )

    def clean_urls(self) -> list[str]:
        words = self.cleaned_data["urls"].split(",")
        return [word.strip() for word in words if word.strip()]


class InviteForm(RekeyForm):
    """Which machine may join, and as what."""

    name = forms.CharField(
        max_length=63,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="What the machine is called here: letters, digits, - and .",
    )
    roles = forms.ChoiceField(
        choices=Member.Roles.choices,
        initial=Member.Roles.BOTH,
        label="May join as",
        widget=UnfoldAdminSelectWidget,
        help_text="A storage server keeps data on its disks, a head server uses volumes.",
    )
    field_order = ("name", "roles", "hours", "urls")


@viewing
def invite(request: HttpRequest) -> HttpResponse:
    """Show the form; make the join string once it is sent, and show it this one time."""

    def make(name: str, roles: str, **about: Any) -> tuple[str, JoinString]:
        return name, members.invite(name, roles, **about)

    return _make(request, "New node", InviteForm, make)


@viewing
def rekey(request: HttpRequest, name: str) -> HttpResponse:
    """Do the same for a node that joined already: it joins anew, with another key."""
    if not Member.objects.filter(name=name).exists():
        raise Http404

    def make(**about: Any) -> tuple[str, JoinString]:
        return name, members.rekey(name, **about)

    return _make(request, f"New join string for {name}", RekeyForm, make)


def _make(
    request: HttpRequest,
    title: str,
    form_class: type[RekeyForm],
    make: Callable[..., tuple[str, JoinString]],
) -> HttpResponse:
    if not may(request.user, Right.ADMINISTER):
        raise PermissionDenied
    form = form_class(request.POST or None, initial={"urls": ",".join(_urls(request))})
    shown: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        hours = given.pop("hours")
        try:
            name, string = make(valid=timedelta(hours=hours), **given)
        except (Refused, OSError) as refusal:
            form.add_error(None, str(refusal))
        else:
            node = members.find(name)
            shown = {"node": node, "string": string, "words": members.EXAMPLES[node.roles]}
    return page(
        request, "access/node.html", title, form=form, cannot=members.why_nobody_joins(), **shown
    )


def _urls(request: HttpRequest) -> list[str]:
    """Offer where nodes reach the manager, or else where this person does."""
    known: list[str] = settings.VASTSKY_MANAGER_URLS
    return known or ([request.build_absolute_uri("/").rstrip("/")] if request.is_secure() else [])


class ByInvitation(admin.SimpleListFilter):
    """Whether a join string waits to be used."""

    title = "join string"
    parameter_name = "string"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waits", "waits to be used"), ("over", "is too old")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        pending = queryset.filter(used_by="").exclude(secret_hash="")
        match self.value():
            case "waits":
                return pending.filter(invited_until__gt=timezone.now())
            case "over":
                return pending.filter(invited_until__lte=timezone.now())
            case _:
                return queryset


class NodeList(Listing):
    """The machines that may join, and those that have joined."""

    list_display = ("name", "state", "string", "roles", "where", "ends", "token_name", "again")
    list_filter = (ByInvitation, "roles")
    search_fields = ("name", "addresses")
    ordering = ("name",)
    fields = ("name", "roles", "addresses", "token_name", "invited_until", "certificate_ends")
    list_before_template = "access/nodes_before.html"  # type: ignore[assignment]  # unfold says None
    nothing = "No node was invited yet."
    actions = (
        previewed("revoke-invitation", "Revoke join string ...", Right.ADMINISTER),
        previewed("remove-node", "Remove ...", Right.ADMINISTER),
    )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Call them as the menu does."""
        found = super().get_changelist_instance(request)
        found.title = "Nodes"
        return found

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.ADMINISTER)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.ADMINISTER)

    @admin.display(description="State", ordering="public_key")
    def state(self, row: Member) -> Pill:
        return Pill("joined", OK) if row.public_key else Pill("invited", IDLE, "never joined")

    @admin.display(description="Join string", ordering="invited_until")
    def string(self, row: Member) -> Pill | str:
        if not row.secret_hash or row.used_by or not row.invited_until:
            return NOTHING
        if row.invited_until <= timezone.now():
            return Pill("too old", IDLE, f"since {row.invited_until:%Y-%m-%d %H:%M} UTC")
        return Pill(f"until {row.invited_until:%m-%d %H:%M} UTC", BUSY, "waits to be used")

    @admin.display(description="Addresses", ordering="addresses")
    def where(self, row: Member) -> str:
        return row.addresses.replace(",", ", ") or NOTHING

    @admin.display(description="Certificate", ordering="certificate_ends")
    def ends(self, row: Member) -> Pill | str:
        if not row.certificate_ends:
            return NOTHING
        left = row.certificate_ends - timezone.now()
        tone = BAD if left <= timedelta() else WARN if left < SOON else OK
        return Pill(f"until {row.certificate_ends:%Y-%m-%d}", tone)

    @admin.display(description="Another")
    def again(self, row: Member) -> SafeString:
        url = reverse("node-rekey", args=[row.name])
        return format_html('<a class="vs-link" href="{}">new join string</a>', url)


def _revoke(row: Member, _: Wish) -> None:
    members.revoke_invitation(row.name)


def _refuse_revoke(rows: Rows) -> dict[int, str]:
    used = [row for row in rows if not row.secret_hash or row.used_by]
    return {row.pk: "no join string of it waits" for row in used}


def _remove(row: Member, _: Wish) -> None:
    members.remove(row.name)


def _hit_by_removal(rows: Rows) -> list[str]:
    tokens = [row.token_name for row in rows if row.token_name]
    if not tokens:
        return []
    return [f"The token {name} is revoked: the node's agents can call no more." for name in tokens]


REVOKE = Verb(
    name="revoke-invitation",
    title="Revoke join string",
    promise="Nobody joins by it any more. A node that never joined is forgotten.",
    icon="link_off",
    model=Member,
    do=_revoke,
    right=Right.ADMINISTER,
    refuse=_refuse_revoke,
)
REMOVE = Verb(
    name="remove-node",
    title="Remove node",
    promise="Its calls are refused from now on. Its servers are deleted apart from that, once they"
    " are empty.",
    icon="delete",
    model=Member,
    do=_remove,
    right=Right.ADMINISTER,
    hits=_hit_by_removal,
    asks=lambda row: str(row.name),
    danger=True,
)
run.VERBS |= {verb.name: verb for verb in (REVOKE, REMOVE)}
