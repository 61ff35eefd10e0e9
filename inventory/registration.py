"""Servers register: which one it is that comes, by its addresses, and whether it may."""

from collections.abc import Sequence
from typing import TypeVar

from django.db import IntegrityError, transaction

from inventory import audit, clock, ids
from inventory.audit import Action
from inventory.errors import Exists, Invalid, TryAgain
from inventory.models import Address, HeadServer, Priority, StorageServer
from inventory.servers import DOWN, KINDS

NETWORKS = 2
REGISTER = {HeadServer: Action.REGISTER_HEAD, StorageServer: Action.REGISTER_STORAGE}

REGISTERED = (
    "boot_id",
    "started",
    "halted",
    "site",
    "rack",
    "last_answer",
    "silent_since",
    "priority",
    "priority_since",
)
"""What a registration writes of a server that is known."""

AnyServer = TypeVar("AnyServer", HeadServer, StorageServer)


def register_head(
    *,
    addresses: Sequence[str],
    boot_id: str = "",
    started: str = "",
    site: str = "",
    rack: str = "",
) -> HeadServer:
    """Find or record the head server with these addresses; Exists if it is up already."""
    fresh = HeadServer(boot_id=boot_id, started=started, site=site, rack=rack)
    return _register(fresh, addresses)


def register_storage(
    *,
    addresses: Sequence[str],
    boot_id: str = "",
    started: str = "",
    site: str = "",
    rack: str = "",
) -> StorageServer:
    """Find or record the storage server with these addresses; Exists if it is up already."""
    fresh = StorageServer(boot_id=boot_id, started=started, site=site, rack=rack)
    return _register(fresh, addresses)


def _register(fresh: AnyServer, addresses: Sequence[str]) -> AnyServer:
    wanted = list(dict.fromkeys(addresses))
    if not 1 <= len(wanted) <= NETWORKS:
        raise Invalid(f"a server has one or two addresses, not {len(wanted)}")
    taken = Exists(f"a server of this kind with an address of {', '.join(wanted)} exists")
    known = list(type(fresh).objects.filter(addresses__address__in=wanted).distinct())
    if not known:
        try:
            return _create(fresh, wanted)
        except IntegrityError:
            raise taken from None
    its = set(known[0].addresses.values_list("address", flat=True))
    if len(known) > 1 or its != set(wanted):
        raise taken
    return _return(known[0], fresh)


@transaction.atomic
def _create(fresh: AnyServer, addresses: Sequence[str]) -> AnyServer:
    kind = KINDS[type(fresh)]
    (fresh.id,) = ids.take(kind)
    fresh.last_answer = fresh.priority_since = clock.now()
    fresh.save(force_insert=True)
    for position, address in enumerate(addresses):
        Address.objects.create(address=address, position=position, **{kind: fresh})
    audit.record(REGISTER[type(fresh)], fresh, f"new, at {', '.join(addresses)}")
    return fresh


@transaction.atomic
def _return(known: AnyServer, fresh: AnyServer) -> AnyServer:
    """Make a known server usable again, or go on with it if it is the same boot."""
    down = known.priority in DOWN
    if not down and (known.boot_id != fresh.boot_id or not fresh.boot_id):
        raise Exists(f"{known} is registered and {known.get_priority_display()}")
    if known.halted and _runs_still(known, fresh):
        raise TryAgain(
            f"{known} was shut down with the cluster: it is back when its agent is started anew,"
            " or when a person says vastsky.resume"
        )
    as_seen = type(known).objects.filter(
        pk=known.pk, priority=known.priority, boot_id=known.boot_id
    )
    now = clock.now()
    labels = (known.site, known.rack)
    known.boot_id, known.started, known.halted = fresh.boot_id, fresh.started, False
    known.site = fresh.site or known.site
    known.rack = fresh.rack or known.rack
    known.last_answer, known.silent_since = now, None
    if down:
        known.priority, known.priority_since = Priority.HIGH, now
    if not as_seen.update(**{name: getattr(known, name) for name in REGISTERED}):
        raise Exists(f"{known} is being registered already")
    # The same boot that shows up again is no news.
    if down or labels != (known.site, known.rack):
        audit.record(REGISTER[type(known)], known, "again" if down else "with other labels")
    return known


def _runs_still(known: AnyServer, fresh: AnyServer) -> bool:
    """Tell whether the agent that registers is the one that was shut down, still running.

    An older agent does not say when it was started: it is taken for a new one in a new boot. One
    that says nothing at all registers only when it is started, as the first agents did.
    """
    if fresh.started:
        return fresh.started == known.started
    return bool(fresh.boot_id) and fresh.boot_id == known.boot_id
