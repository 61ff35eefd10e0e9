"""Servers register: which one it is that comes, by who it is, and whether it may."""

from collections.abc import Collection, Sequence
from typing import TypeVar

from django.db import IntegrityError
from django.db.models import Q

from inventory import addresses as places
from inventory import audit, clock, ids, names, recovery
from inventory.audit import Action
from inventory.errors import Exists, Invalid, NotFound, TryAgain
from inventory.models import HeadServer, Priority, StorageServer
from inventory.servers import DOWN, KINDS
from inventory.write_lock import write_lock

NETWORKS = 2
REGISTER = {HeadServer: Action.REGISTER_HEAD, StorageServer: Action.REGISTER_STORAGE}

REGISTERED = (
    "node_uuid",
    "name",
    "host_name",
    "version",
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
OF_KIND = {HeadServer: (), StorageServer: ("iscsi_port", "data_port")}
"""What only servers of one kind tell, and always tell."""
LAST_PORT = 65535
FAR = 1 << 16
"""So far beyond what was ever given out, a number is nonsense and not one that was forgotten."""

AnyServer = TypeVar("AnyServer", HeadServer, StorageServer)


class Restarted(Exists):
    """It is in service still, and comes from a new start: what it ran before is gone."""

    def __init__(self, server: HeadServer | StorageServer) -> None:
        self.server = server
        super().__init__(f"{server.label} is registered and {server.get_priority_display()}")


def register_head(
    *,
    addresses: Sequence[str],
    node_uuid: str = "",
    number: int = 0,
    boot_id: str = "",
    started: str = "",
    site: str = "",
    rack: str = "",
    host_name: str = "",
    version: str = "",
) -> HeadServer:
    """Find or record this head server; Exists if it is up already."""
    fresh = HeadServer(
        node_uuid=node_uuid,
        boot_id=boot_id,
        started=started,
        site=site,
        rack=rack,
        host_name=host_name,
        version=version,
    )
    return _register(fresh, number, addresses)


def register_storage(
    *,
    addresses: Sequence[str],
    node_uuid: str = "",
    number: int = 0,
    boot_id: str = "",
    started: str = "",
    site: str = "",
    rack: str = "",
    host_name: str = "",
    version: str = "",
    iscsi_port: int = 0,
    data_port: int = 0,
) -> StorageServer:
    """Find or record this storage server; Exists if it is up already."""
    for port in (iscsi_port, data_port):
        if port not in range(LAST_PORT + 1):
            raise Invalid(f"a port is at most {LAST_PORT}, not {port}; 0: none")
    fresh = StorageServer(
        iscsi_port=iscsi_port or None,
        data_port=data_port or None,
        node_uuid=node_uuid,
        boot_id=boot_id,
        started=started,
        site=site,
        rack=rack,
        host_name=host_name,
        version=version,
    )
    return _register(fresh, number, addresses)


def find(
    kind: type[AnyServer], addresses: Collection[str], node_uuid: str, number: int
) -> AnyServer | None:
    """Tell which server it is that comes; None where it is none that we know.

    A node that says who it is, is who it says. Where the row does not know that yet, it is the one
    whose number the node had, or that has its addresses; so is one that does not say who it is.
    """
    if not node_uuid:
        return _at(kind, addresses, Q())
    if known := kind.objects.filter(node_uuid=node_uuid).first():
        return known
    nameless = Q(node_uuid="")
    if number:
        return kind.objects.filter(nameless, pk=number).first()
    return _at(kind, addresses, nameless)


@write_lock()
def move(server: HeadServer | StorageServer, addresses: Sequence[str]) -> None:
    """Look for a server at other addresses from now on, by an operator's word."""
    row = _existing(server)
    if places.move(row, _checked(addresses), by_word=True):
        audit.record(Action.MOVE_SERVER, row, f"to {', '.join(addresses)}")


@write_lock()
def forget_node(server: HeadServer | StorageServer) -> None:
    """Take whichever node registers next at its addresses for this server, by a person's word.

    The node lost its state folder, or another machine takes its place.
    """
    row = _existing(server)
    if type(row).objects.filter(pk=row.pk).exclude(node_uuid="").update(node_uuid=""):
        audit.record(Action.FORGET_NODE, row, f"was node {row.node_uuid}")


def _existing(server: HeadServer | StorageServer) -> HeadServer | StorageServer:
    row: HeadServer | StorageServer | None = type(server).objects.filter(pk=server.pk).first()
    if row is None:
        raise NotFound(f"{server} does not exist")
    return row


def _checked(addresses: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(addresses))
    if not 1 <= len(wanted) <= NETWORKS:
        raise Invalid(f"a server has one or two addresses, not {len(wanted)}")
    return wanted


def _at(kind: type[AnyServer], addresses: Collection[str], which: Q) -> AnyServer | None:
    """Find the server that has these addresses, all of them and no other."""
    met = kind.objects.filter(which, addresses__address__in=addresses).distinct()
    return next((row for row in met if places.of(row) == set(addresses)), None)


@write_lock()
def _register(fresh: AnyServer, number: int, addresses: Sequence[str]) -> AnyServer:
    wanted = _checked(addresses)
    known = find(type(fresh), wanted, fresh.node_uuid, number)
    if known is not None:
        return _return(known, fresh, wanted)
    try:
        return _create(fresh, number if fresh.node_uuid else 0, wanted)
    except IntegrityError:
        raise Exists(f"a server at {', '.join(wanted)} is being registered already") from None


@write_lock()
def _create(fresh: AnyServer, number: int, addresses: Sequence[str]) -> AnyServer:
    kind = KINDS[type(fresh)]
    forgotten = _is_forgotten(type(fresh), number)
    fresh.id = number if forgotten else ids.take(kind)[0]
    if forgotten and number >= ids.next_of(kind):
        recovery.skip_to(kind, number + 1)
        recovery.enter(f"{fresh} registered, which is newer than this database")
    fresh.name = names.first_for(fresh)
    fresh.last_answer = fresh.priority_since = clock.now()
    fresh.save(force_insert=True)
    places.settle(fresh, addresses, takes=bool(fresh.node_uuid))
    known_as = "with the number that it had" if forgotten else "new"
    audit.record(REGISTER[type(fresh)], fresh, f"{known_as}, at {', '.join(addresses)}")
    return fresh


def _is_forgotten(kind: type[AnyServer], number: int) -> bool:
    """Tell whether another life of this database may have given out a number that a node tells.

    One that this one gave out itself is of a server that was deleted, and never comes twice.
    """
    beyond = number - ids.next_of(KINDS[kind])
    lost = 0 <= beyond < FAR or any(number in gap for gap in recovery.gaps(KINDS[kind]))
    return lost and not kind.objects.filter(pk=number).exists()


@write_lock()
def _return(known: AnyServer, fresh: AnyServer, addresses: Sequence[str]) -> AnyServer:
    """Make a known server usable again, or go on with it if it is the same boot."""
    down = known.priority in DOWN
    moved = places.move(known, addresses)
    if not down and (known.boot_id != fresh.boot_id or not fresh.boot_id):
        if fresh.node_uuid:
            raise Restarted(known)
        raise Exists(f"{known} is registered and {known.get_priority_display()}")
    if known.halted and _runs_still(known, fresh):
        raise TryAgain(
            f"{known} was shut down with the cluster: it is back when its agent is started anew,"
            " or when a person says vastsky.resume"
        )
    as_seen = type(known).objects.filter(
        pk=known.pk, priority=known.priority, boot_id=known.boot_id, node_uuid=known.node_uuid
    )
    now = clock.now()
    labels = (known.site, known.rack)
    known.boot_id, known.started, known.halted = fresh.boot_id, fresh.started, False
    known.node_uuid = fresh.node_uuid or known.node_uuid
    known.site = fresh.site or known.site
    known.rack = fresh.rack or known.rack
    known.host_name = fresh.host_name or known.host_name
    known.version = fresh.version
    for name in OF_KIND[type(known)]:
        setattr(known, name, getattr(fresh, name))
    known.name = known.name or names.first_for(known)
    known.last_answer, known.silent_since = now, None
    if down:
        known.priority, known.priority_since = Priority.HIGH, now
    written = (*REGISTERED, *OF_KIND[type(known)])
    if not as_seen.update(**{name: getattr(known, name) for name in written}):
        raise Exists(f"{known} is being registered already")
    # The same boot that shows up again is no news.
    news = ["again"] * down + ["with other labels"] * (labels != (known.site, known.rack))
    if moved:
        news.append(f"moved to {', '.join(addresses)}")
    if news:
        audit.record(REGISTER[type(known)], known, ", ".join(news))
    return known


def _runs_still(known: AnyServer, fresh: AnyServer) -> bool:
    """Tell whether the agent that registers is the one that was shut down, still running.

    An older agent does not say when it was started: it is taken for a new one in a new boot. One
    that says nothing at all registers only when it is started, as the first agents did.
    """
    if fresh.started:
        return fresh.started == known.started
    return bool(fresh.boot_id) and fresh.boot_id == known.boot_id
