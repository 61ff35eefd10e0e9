"""The addresses of a server: one that another server leaves is taken, one that it uses is not."""

from collections.abc import Sequence

from django.db.models import QuerySet

from inventory.errors import Exists
from inventory.models import ALIVE, Address, HeadServer, StorageServer
from inventory.servers import KINDS

Server = HeadServer | StorageServer


class Contested(Exists):
    """Two nodes are one server, or at one address, and the other one answers there."""


def of(server: Server) -> set[str]:
    """Tell all addresses of a server."""
    return set(server.addresses.values_list("address", flat=True))


def move(server: Server, addresses: Sequence[str], *, by_word: bool = False) -> bool:
    """Have a server at these addresses from now on; False where it is there already.

    Contested while it answers at one that it leaves, for then it is another node that comes: a copy
    of it. `by_word`: an operator says that it is no copy.
    """
    if of(server) == set(addresses):
        return False
    left = server.addresses.exclude(address__in=addresses)
    if server.priority in ALIVE and not by_word and (busy := _answering(left)):
        raise Contested(
            f"{server.label} answers at {busy}: what comes from {', '.join(addresses)} is a copy of"
            " its node, or the node itself that was just moved, which is taken in once none answers"
            " there. A copy becomes a node of its own when its agent is started with an empty"
            " state_dir"
        )
    settle(server, addresses)
    return True


def settle(server: Server, addresses: Sequence[str], *, takes: bool = True) -> None:
    """Give a server these addresses alone, in this order.

    It takes them from a server that is gone from there; without `takes` only those that are free.
    """
    kind = KINDS[type(server)]
    others = Address.objects.filter(address__in=addresses, **{f"{kind}__isnull": False})
    others = others.exclude(**{kind: server})
    for address in others.select_related(kind):
        owner: Server = getattr(address, kind)
        if not takes or (owner.priority in ALIVE and address.silent_since is None):
            raise Contested(f"{address} is the address of {owner}, which is not known to be gone")
    others.delete()
    server.addresses.all().delete()
    for position, address_of in enumerate(addresses):
        Address.objects.create(address=address_of, position=position, **{kind: server})


def _answering(addresses: QuerySet[Address]) -> str:
    """Name one of these that answers; "" where none does."""
    answering = addresses.filter(silent_since=None).order_by("position")
    return answering.values_list("address", flat=True).first() or ""
