"""The methods of the API about tokens; a signature is the method's wire contract."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from inventory.pages import parse_limit
from vastsky_site.access import tokens
from vastsky_site.models import ApiToken

Name = Annotated[str, 64]


def list_tokens(*, after: Name = "", limit: int = 0) -> list[dict[str, Any]]:
    """Return all tokens that were ever made, by name; the tokens themselves are nowhere.

    limit of them whose names are beyond after.
    """
    rows = ApiToken.objects.filter(name__gt=after).order_by("name")
    return [_token(row) for row in rows[: parse_limit(limit) or None]]


def _token(row: ApiToken) -> dict[str, Any]:
    return {
        "name": row.name,
        "role": row.role,
        "hsvrid": row.head or 0,
        "ssvrid": row.storage or 0,
        "created": _moment(row.created),
        "created_by": row.created_by,
        "last_used": _moment(row.last_used),
        "revoked": _moment(row.revoked),
    }


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def create_token(*, name: Name, role: Name, hsvrid: int = 0, ssvrid: int = 0) -> str:
    """Make a token and return it, which nobody can see again; EEXIST: the name is or was taken."""
    return tokens.create_token(name=name, role=role, head=hsvrid, storage=ssvrid)[1]


def revoke_token(*, name: Name) -> None:
    """Refuse a token from its next call on; idempotent."""
    tokens.revoke_token(name)


PROCEDURES: dict[str, Callable[..., Any]] = {
    "vastsky.listTokens": list_tokens,
    "vastsky.createToken": create_token,
    "vastsky.revokeToken": revoke_token,
}
