"""API tokens in the console: made and shown once, listed, revoked."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from inventory.errors import Refused
from inventory.models import HeadServer, StorageServer
from vastsky_site.access import tokens
from vastsky_site.models import ApiToken
from volumes.console.frame.formats import NOTHING, ago
from volumes.console.frame.page import page, viewing
from volumes.console.frame.permissions import Right, may
from volumes.console.frame.pills import BAD, IDLE, OK, Pill
from volumes.console.lists.listing import Listing, previewed
from volumes.console.verbs import run
from volumes.console.verbs.verb import Rows, Verb, Wish


class TokenForm(forms.Form):
    """What a token is for."""

    name = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="1 to 64 of -._a-zA-Z0-9; the user name of its calls, and never used again.",
    )
    role = forms.ChoiceField(choices=ApiToken.Role.choices, widget=UnfoldAdminSelectWidget)
    storage = forms.IntegerField(
        min_value=1,
        required=False,
        label="Storage server",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Of an agent: the number of the storage server it speaks for. Left empty, the "
        "first one it registers.",
    )
    head = forms.IntegerField(
        min_value=1,
        required=False,
        label="Head server",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Of an agent: the number of the head server it speaks for.",
    )


@viewing
def create(request: HttpRequest) -> HttpResponse:
    """Show the form; make the token once it is sent, and show it this one time."""
    if not may(request.user, Right.ADMINISTER):
        raise PermissionDenied
    form = TokenForm(request.POST or None)
    row, text = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            row, text = tokens.create_token(**form.cleaned_data)
        except Refused as refusal:
            form.add_error(None, str(refusal))
    return page(request, "access/token.html", "New API token", form=form, token=row, text=text)


class TokenList(Listing):
    """All tokens, with what they may do and when they last did it."""

    list_display = ("name", "state", "role", "bound", "last_use", "made", "created_by")
    list_filter = ("role",)
    search_fields = ("name", "created_by")
    ordering = ("name",)
    fields = ("name", "role", "storage", "head", "created", "created_by", "last_used", "revoked")
    list_before_template = "access/tokens_before.html"  # type: ignore[assignment]  # unfold says None
    actions = (previewed("revoke-token", "Revoke ...", Right.ADMINISTER),)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.ADMINISTER)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.ADMINISTER)

    @admin.display(description="State", ordering="revoked")
    def state(self, row: ApiToken) -> Pill:
        if row.revoked:
            return Pill("revoked", BAD, f"{row.revoked:%Y-%m-%d %H:%M} UTC")
        return Pill("valid", OK) if row.last_used else Pill("never used", IDLE)

    @admin.display(description="Speaks for")
    def bound(self, row: ApiToken) -> str:
        storage = [str(StorageServer(pk=row.storage))] if row.storage else []
        head = [str(HeadServer(pk=row.head))] if row.head else []
        return ", ".join(storage + head) or NOTHING

    @admin.display(description="Last used", ordering="last_used")
    def last_use(self, row: ApiToken) -> str:
        return ago(row.last_used)

    @admin.display(description="Made", ordering="created")
    def made(self, row: ApiToken) -> str:
        return ago(row.created)


def _revoke(row: ApiToken, _: Wish) -> None:
    tokens.revoke_token(row.name)


def _refuse_revoke(rows: Rows) -> dict[int, str]:
    return {row.pk: "it is revoked already" for row in rows if row.revoked}


REVOKE = Verb(
    name="revoke-token",
    title="Revoke",
    promise="The token is refused from its next call on, for ever.",
    icon="key_off",
    model=ApiToken,
    do=_revoke,
    right=Right.ADMINISTER,
    refuse=_refuse_revoke,
    danger=True,
)
run.VERBS[REVOKE.name] = REVOKE
