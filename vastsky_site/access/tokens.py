"""API tokens: made and shown once, found by their keyed hash, bound to a node, revoked."""

import re
import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from agents import masking
from inventory import audit
from inventory.audit import Action
from inventory.errors import Exists, Invalid, NotFound
from inventory.models import HeadServer, StorageServer
from vastsky_site.models import ApiToken

Role = ApiToken.Role
NAME = re.compile(r"[-._a-zA-Z0-9]{1,64}")
PREFIX = masking.API_PREFIX
"""So that a token which leaked into a log or a repository is found by those who look for one."""
USE_NOTED = timedelta(minutes=1)


@transaction.atomic
def create_token(
    *, name: str, role: str, head: int | None = None, storage: int | None = None, text: str = ""
) -> tuple[ApiToken, str]:
    """Make a token; what is returned beside the row is its text, which nobody can see again.

    A `text` that is given is as hard to guess as the one that is made otherwise.
    """
    if not NAME.fullmatch(name):
        raise Invalid(f"a token's name is 1 to 64 of -._a-zA-Z0-9, not {name[:80]!r}")
    if role not in Role.values:
        raise Invalid(f"a role is one of {', '.join(Role.values)}, not {role!r}")
    if role != Role.AGENT and (head or storage):
        raise Invalid("only an agent's token is bound to a server")
    if head and not HeadServer.objects.filter(pk=head).exists():
        raise Invalid(f"there is no {HeadServer(pk=head)}")
    if storage and not StorageServer.objects.filter(pk=storage).exists():
        raise Invalid(f"there is no {StorageServer(pk=storage)}")
    text = text or PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        name=name,
        role=role,
        head=head or None,
        storage=storage or None,
        digest=_digest(text),
        created_by=audit.actor().name[:150],
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise Exists(f"a token named {name} exists or existed") from None
    audit.record(Action.CREATE_TOKEN, row, ", ".join([f"role {role}", *_bonds(row)]))
    return row, text


@transaction.atomic
def revoke_token(name: str) -> None:
    """Let a token be refused from its next call on; for one that is revoked nothing changes."""
    row = ApiToken.objects.filter(name=name).first()
    if row is None:
        raise NotFound(f"there is no token {name}")
    if ApiToken.objects.filter(pk=row.pk, revoked=None).update(revoked=timezone.now()):
        audit.record(Action.REVOKE_TOKEN, row)


@transaction.atomic
def bind_token(token_id: int, *, head: int | None = None, storage: int | None = None) -> bool:
    """Let an agent's token speak for this server from now on, if it speaks for none of the kind."""
    field, server = ("head", head) if head else ("storage", storage)
    free = ApiToken.objects.filter(pk=token_id, role=Role.AGENT, **{field: None})
    if not free.update(**{field: server}):
        return False
    row = ApiToken.objects.get(pk=token_id)
    audit.record(Action.BIND_TOKEN, row, ", ".join(_bonds(row)))
    return True


def find_token(name: str, text: str) -> ApiToken | None:
    """Find the valid token of this name; None for one that is wrong, revoked, or another's."""
    digest = _digest(text)
    row = ApiToken.objects.filter(digest=digest, revoked=None).first()
    if row is None:
        return None
    same = constant_time_compare(row.digest, digest) and constant_time_compare(row.name, name)
    return row if same else None


def note_use(row: ApiToken) -> None:
    """Remember when the token was used, to the minute: calls by the thousand write once."""
    now = timezone.now()
    if row.last_used is None or row.last_used < now - USE_NOTED:
        ApiToken.objects.filter(pk=row.pk).update(last_used=now)


def _digest(text: str) -> str:
    """Hash with a key made of SECRET_KEY: who reads the database can neither use nor make one.

    A fast hash is right here: a token is 256 bits of chance, which no dictionary holds.
    """
    return salted_hmac("vastsky.token", text, algorithm="sha256").hexdigest()


def _bonds(row: ApiToken) -> list[str]:
    heads = [f"for {HeadServer(pk=row.head)}"] if row.head else []
    return heads + ([f"for {StorageServer(pk=row.storage)}"] if row.storage else [])
