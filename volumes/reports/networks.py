"""Servers that answer on one of their two networks only, and on which they do not."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from inventory import clock
from inventory.models import ALIVE, Address, HeadServer, StorageServer
from volumes.paths.descriptions import NAMES, network

__all__ = ["NAMED", "NAMES", "Down", "find", "half_silent"]

NAMED = 3
"""Where more servers than this miss the same network, the network is the matter, not they."""


@dataclass(frozen=True, slots=True)
class Down:
    """A network that does not answer: at one server, or at so many that none is named."""

    position: int
    servers: list[StorageServer | HeadServer]
    addresses: list[str]
    since: datetime

    @property
    def name(self) -> str:
        """Name the network as people do."""
        return network(self.position)

    @property
    def key(self) -> str:
        """Name it as what is behind problems."""
        one, *others = self.servers
        return f"network-{self.position}" + ("" if others else f"-{one._meta.model_name}-{one.pk}")  # noqa: SLF001  Django's documented API

    @property
    def where(self) -> str:
        """Write the address, or what the addresses have in common."""
        first, *others = (address.split(".") for address in self.addresses)
        shared: list[str] = []
        for place, part in enumerate(first):
            if any(other[place] != part for other in others):
                break
            shared.append(part)
        return ".".join(shared if len(shared) == len(first) else [*shared, "x"])


def find() -> list[Down]:
    """Find what is down of the networks, those that many servers miss as one."""
    rows: dict[int, list[Address]] = defaultdict(list)
    for row in half_silent().select_related("storage", "head").order_by("position", "pk"):
        rows[row.position].append(row)
    return [down for missing in rows.values() for down in _group(missing)]


def half_silent() -> QuerySet[Address]:
    """Select the addresses that have been silent for a while, of servers that answer elsewhere."""
    limit = clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)
    return Address.objects.filter(
        _answers("storage", limit) | _answers("head", limit), silent_since__lt=limit
    )


def _answers(owner: str, limit: datetime) -> Q:
    lately = Q(**{f"{owner}__silent_since": None}) | Q(**{f"{owner}__silent_since__gte": limit})
    return Q(**{f"{owner}__priority__in": ALIVE}) & lately


def _group(missing: list[Address]) -> Iterator[Down]:
    if len(missing) > NAMED:
        yield _down(missing)
        return
    for row in missing:
        yield _down([row])


def _down(rows: list[Address]) -> Down:
    return Down(
        rows[0].position,
        [owner for row in rows if (owner := row.storage or row.head)],
        [row.address for row in rows],
        clock.on_the_wall(min(row.silent_since for row in rows if row.silent_since)),
    )
