"""Register this node with the manager, again and again; learn which cluster it belongs to."""

import errno
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from agents.node.config import NodeConfig
from agents.node.fences import Stale
from agents.node.manager_client import Fault, ManagerClient, NoManager
from agents.node.state_store import StateStore
from agents.protocol import NODE, Reason, Target
from agents.version import VERSION

logger = logging.getLogger(__name__)

CLUSTER = "cluster"
SERVER_ID = "server id"
TELLS_NODES_APART = "tells_nodes_apart"
"""What a manager says of itself that knows nodes by more than their addresses."""
LONGEST_NAME = 64
"""Of a host, for Linux; the manager takes no longer one."""
UNASKED_SECONDS = 15.0
FIRST_PAUSE = 0.25
MAX_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class NodeKind:
    """How the manager speaks of servers of a kind."""

    target: Target
    register: str
    listing: str
    id_member: str


HEAD = NodeKind(Target.HEAD, "registerHeadServer", "listHeadServers", "hsvrid")
STORAGE = NodeKind(Target.STORAGE, "registerStorageServer", "listStorageServers", "ssvrid")


class NotYet(Exception):
    """Registration did not succeed and is worth another try later."""


class Registration:
    """Registers the server, then whatever belongs to it."""

    def __init__(
        self,
        *,
        kind: NodeKind,
        config: NodeConfig,
        manager: ManagerClient,
        store: StateStore,
        admit: Callable[[int], None],
        boot_id: Callable[[], str],
        extra: dict[str, Any] | None = None,
        prepare: Callable[[str], None] = lambda _: None,
        complete: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._kind = kind
        self._config = config
        self._manager = manager
        self._store = store
        self._admit = admit
        self._boot_id = boot_id
        self._extra = extra or {}
        self._prepare = prepare
        self._complete = complete
        self._told_apart = False
        self._started = secrets.token_hex(16)
        self._asked = time.monotonic()
        self._wanted = threading.Event()

    @property
    def server_id(self) -> int:
        """The number the manager gave; 0 before it did."""
        return int(self._store.fact(SERVER_ID) or 0)

    @property
    def cluster(self) -> str:
        """The cluster this node belongs to; "" before its first registration."""
        return self._store.fact(CLUSTER)

    def was_asked(self) -> None:
        """Note that the manager counts on us: it asked for our state."""
        self._asked = time.monotonic()

    def request(self) -> None:
        """Register again soon: something changed."""
        self._wanted.set()

    def start(self) -> None:
        """Register now, and whenever it is needed, in a thread of its own."""
        self._wanted.set()
        threading.Thread(target=self._run, name="registration", daemon=True).start()

    def _run(self) -> None:
        while True:
            asked_again = self._asked + UNASKED_SECONDS - time.monotonic()
            if not self._wanted.wait(max(asked_again, 0)) and self._asked_lately():
                continue
            self._wanted.clear()
            self._register_until_done()
            self._asked = time.monotonic()

    def _asked_lately(self) -> bool:
        return time.monotonic() < self._asked + UNASKED_SECONDS

    def _register_until_done(self) -> None:
        pause, last = FIRST_PAUSE, ""
        while True:
            try:
                self.register()
            except (NoManager, NotYet, Fault) as error:
                if str(error) != last:
                    logger.warning("not registered yet: %s", error)
                last = str(error)
            except Exception:
                logger.exception("not registered yet")
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE)

    def register(self) -> None:
        """Register once; NoManager, NotYet or Fault if that did not succeed."""
        self._join_cluster()
        self._prepare(self.cluster)
        number = self._register_server()
        self._store.learn(SERVER_ID, str(number))
        self._complete(number)
        logger.info("registered as %s %d", self._kind.id_member, number)

    def _join_cluster(self) -> None:
        info = self._manager.table("vastsky.clusterInfo")
        cluster, incarnation = info.get("cluster"), info.get("incarnation")
        if not isinstance(cluster, str) or not cluster or type(incarnation) is not int:
            raise NotYet(f"clusterInfo answered {info}")
        if self.cluster not in ("", cluster):
            raise NotYet(f"this node belongs to cluster {self.cluster}, the manager is {cluster}")
        self._told_apart = info.get(TELLS_NODES_APART) is True
        try:
            self._admit(incarnation)
        except Stale as error:
            raise NotYet(f"the manager is an older one: {error}") from None
        self._store.learn(CLUSTER, cluster)

    def _register_server(self) -> int:
        try:
            return self._tell_server()
        except Fault as fault:
            if fault.errno != errno.EEXIST or self._told_apart:
                raise
        # An older manager thinks that what an earlier boot of this node ran is still there.
        number = self._known_id()
        logger.warning("known as %s %d of an earlier start", self._kind.id_member, number)
        target = int(self._kind.target)
        self._manager.call(
            "notifyFailure", target=target, targetid=number, reason=Reason.RESTARTED.value
        )
        return self._tell_server()

    def _tell_server(self) -> int:
        config = self._config
        return self._manager.number(
            self._kind.register,
            ip_data=[config.addresses[0], config.addresses[-1]],
            boot_id=self._boot_id(),
            started=self._started,
            site=config.site,
            rack=config.rack,
            host_name=socket.gethostname()[:LONGEST_NAME],
            version=VERSION,
            **{NODE: self._store.node_uuid(), self._kind.id_member: self.server_id},
            **self._extra,
        )

    def _known_id(self) -> int:
        """Find which server we are to an older manager; our own memory may be lost."""
        rows = self._manager.rows(self._kind.listing)
        return find_own(rows, self._kind.id_member, self._config.addresses)


def find_own(rows: Iterable[dict[str, Any]], id_member: str, addresses: tuple[str, ...]) -> int:
    """Pick the server that has our addresses, all of them; NotYet if there is none.

    One that has but one of them may be another node: its failure is not ours to report.
    """
    for row in rows:
        number = row.get(id_member)
        if type(number) is int and set(row.get("ip_data", ())) == set(addresses):
            return number
    raise NotYet("the manager knows an address of ours and lists no server that has both")
