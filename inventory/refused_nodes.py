"""Nodes that may not register are written down: each goes on trying, and needs a person."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from inventory import clock
from inventory.addresses import Contested
from inventory.errors import Forbidden
from inventory.models import RefusedNode

LATELY = timedelta(seconds=60)
"""An agent tries again every few seconds: one that does not has ended."""


@contextmanager
def noting(kind: str, node_uuid: str, addresses: Sequence[str]) -> Iterator[None]:
    """Write down that a node is refused, once the refusal's transaction is over, or that it is in.

    Of a node that does not say who it is nothing is known that a person could use.
    """
    told = {"kind": kind, "node_uuid": node_uuid, "addresses": ", ".join(addresses)}
    try:
        yield
    except (Contested, Forbidden) as refusal:
        if node_uuid:
            _note(told, str(refusal)[:500])
        raise
    if node_uuid:
        RefusedNode.objects.filter(**told).delete()


def lately() -> QuerySet[RefusedNode]:
    """Select those that still try."""
    return RefusedNode.objects.filter(last__gt=clock.now() - LATELY)


@transaction.atomic
def _note(told: dict[str, str], reason: str) -> None:
    now = clock.now()
    RefusedNode.objects.filter(last__lte=now - LATELY).delete()
    said = {"reason": reason, "last": now}
    RefusedNode.objects.update_or_create(
        **told, defaults=said, create_defaults={**said, "since": now}
    )
