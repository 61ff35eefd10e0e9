"""What people call servers: at first what a node calls itself, then what an operator says."""

import re
from collections import Counter
from typing import TypeVar

from django.db.models import Count, Q

from inventory import audit
from inventory.audit import Action
from inventory.errors import Exists, Invalid, NotFound
from inventory.models import HeadServer, StorageServer
from inventory.servers import KINDS, SERVERS
from inventory.write_lock import write_lock

Kind = TypeVar("Kind", HeadServer, StorageServer)

NAME = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]{0,63}")
DIGITS = re.compile(r"[0-9a-f]{8}")
LIKE_AN_ID = re.compile(r"(hsvr|ssvr|pdsk|lvol)-[0-9a-f]+", re.IGNORECASE)
"""A word that is an id for commands and people."""


def first_for(server: HeadServer | StorageServer) -> str:
    """Name a server that has no name yet by its host; "" where another one is called so."""
    name = server.host_name
    return name if _may_be_a_name(name) and not _is_taken(server, name) else ""


@write_lock()
def rename(server: HeadServer | StorageServer, name: str) -> None:
    """Call a server otherwise, by an operator's word; "" for what its host is called."""
    row: HeadServer | StorageServer | None = type(server).objects.filter(pk=server.pk).first()
    if row is None:
        raise NotFound(f"{server} does not exist")
    if name and not _may_be_a_name(name):
        raise Invalid(f"a name is up to 64 of -._a-zA-Z0-9, and no id: {name!r} is none")
    if name and _is_taken(row, name):
        raise Exists(f"another server is called {name}")
    new = name or first_for(row)
    if type(row).objects.filter(pk=row.pk, name=row.name).exclude(name=new).update(name=new):
        audit.record(Action.RENAME_SERVER, row, f"from {row.name or 'none'} to {new or 'none'}")


def find(kind: type[Kind], name: str) -> Kind:
    """Find the server that is called so, or whose host is; where two are, none is guessed."""
    found = list(kind.objects.filter(Q(name=name) | Q(host_name=name)).order_by("pk")[:2])
    if not found:
        raise NotFound(f"there is no {KINDS[kind]} server {name}")
    if len(found) > 1:
        raise Invalid(f"{name} may be {found[0].label} or {found[1].label}: say which by its id")
    return found[0]


def everyone(after: str = "", limit: int = 0) -> list[tuple[str, HeadServer | StorageServer]]:
    """Give all servers by kind and id, or `limit` of them beyond the one with the id `after`."""
    last, number = _read_id(after)
    found: list[tuple[str, HeadServer | StorageServer]] = []
    for model in SERVERS:
        kind = KINDS[model]
        if kind >= last:
            rows = model.objects.filter(pk__gt=number if kind == last else 0).order_by("pk")
            found += [(kind, row) for row in rows[: limit or None]]
    return found[: limit or None]


def _read_id(word: str) -> tuple[str, int]:
    """Tell kind and number of a server by its id; "": what is before all of them."""
    if not word:
        return "", 0
    for model in SERVERS:
        digits = word.removeprefix(f"{KINDS[model][0]}svr-")
        if digits != word and DIGITS.fullmatch(digits):
            return KINDS[model], int(digits, 16)
    raise Invalid(f"after is the id of a server, such as {HeadServer(pk=1)}, not {word!r}")


def count_versions() -> Counter[str]:
    """Count agents by the release that they tell."""
    found: Counter[str] = Counter()
    for model in SERVERS:
        counted = model.objects.values_list("version").annotate(Count("pk")).order_by()
        found.update(dict(counted))
    return found


def _may_be_a_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not LIKE_AN_ID.fullmatch(name)


def _is_taken(server: HeadServer | StorageServer, name: str) -> bool:
    return type(server).objects.filter(name=name).exclude(pk=server.pk).exists()
