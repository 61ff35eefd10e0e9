"""Storage servers, asked over NBD whether they still serve what a head lost.

A path says of itself that it is gone, not why. Where the server is there and refuses the replica
this head may be fenced; where its machine was started anew it serves nothing yet, and fenced
nobody. The two differ in the name that each life of a data server has.
"""

import errno
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from agents.engines.base import EngineError
from agents.engines.userspace.head.state_file import SavedReplica
from agents.engines.userspace.nbd.sync_client import BlockingClient

logger = logging.getLogger(__name__)

ASK_SECONDS = 2.0
ASK_AGAIN_SECONDS = 5.0
AT_ONCE = 8


class Evicted(EngineError):
    """A server answers, and does not serve a replica any more: the epoch may be over."""


Server = tuple[tuple[str, ...], int]


class Servers:
    """What a head knows of the data servers beside the targets: which life each is in."""

    def __init__(self) -> None:
        self._lives: dict[Server, str] = {}
        self._silent: dict[Server, float] = {}
        self._asked: dict[int, float] = {}

    def visit(self, replicas: Iterable[SavedReplica]) -> None:
        """Learn which life the servers of these are in: each is asked once, beside the others."""
        one_of_each = {_server(one): one for one in replicas}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._visit, one_of_each.values()):
                pass

    def has_evicted(self, one: SavedReplica) -> bool:
        """Tell whether a server that served a lost replica is there and serves it no more.

        A server that is silent is not asked for each of its replicas, nor again at once.
        """
        server, now = _server(one), time.monotonic()
        last = max(self._silent.get(server, 0.0), self._asked.get(one.dextid, 0.0))
        if last and now < last + ASK_AGAIN_SECONDS:
            return False
        self._asked[one.dextid] = now
        try:
            self._ask(one)
        except OSError as error:
            if error.errno != errno.ENOENT:
                self._silent[server] = time.monotonic()
                return False
            life = self._lives.get(server, "")
            # Where it never was asked while it served, whose refusal it is cannot be told.
            return not life or life in str(error)
        return False

    def _visit(self, one: SavedReplica) -> None:
        try:
            self._ask(one)
        except OSError as error:
            logger.debug("replica %d: %s", one.dextid, error)

    def _ask(self, one: SavedReplica) -> None:
        client = BlockingClient(one.addresses, one.port, one.export, ASK_SECONDS)
        self._lives[_server(one)] = client.instance
        client.close()


def _server(one: SavedReplica) -> Server:
    return one.addresses, one.port
