"""Servers register that were started anew before anybody missed them."""

from collections.abc import Callable
from typing import TypeVar

from agents.protocol import Reason, Target
from inventory import registration
from inventory.models import HeadServer, StorageServer
from inventory.write_lock import write_lock
from volumes.repair import failures

Server = TypeVar("Server", HeadServer, StorageServer)


@write_lock()
def register(register_server: Callable[[], Server]) -> Server:
    """Register a server; of one that is in service still, first take note of what it lost.

    Its node said who it is: it is no other that is mistaken for it.
    """
    try:
        return register_server()
    except registration.Restarted as restarted:
        server = restarted.server
    target = Target.HEAD if isinstance(server, HeadServer) else Target.STORAGE
    failures.fail(target, server.pk, Reason.RESTARTED)
    return register_server()
