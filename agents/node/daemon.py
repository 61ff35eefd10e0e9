"""The life of an agent, from its start to SIGTERM, and what agents of both kinds are made of."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from agents.errors import AgentError
from agents.exposition import MetricSample
from agents.node.config import METRICS_OFF, ConfigError, NodeConfig
from agents.node.fences import Fences
from agents.node.http_server import AgentServer
from agents.node.journal import Journal
from agents.node.log_tail import LogTail
from agents.node.manager_client import ManagerClient
from agents.node.methods import Method, Question, Receipt
from agents.node.metrics_server import MetricsServer
from agents.node.orders import Orders
from agents.node.outbox import Outbox
from agents.node.state_store import StateStore
from agents.protocol import (
    CancelOrder,
    FenceQuestion,
    GroupFences,
    HighestSeen,
    LogQuestion,
    Report,
)

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
PRUNE_TICKS = 3600


class NodeRole(Protocol):
    """What makes an agent one of a kind."""

    @property
    def methods(self) -> dict[str, Method]:
        """What it can be told beyond what every agent can be told."""

    def start(self) -> None:
        """Begin all that goes on by itself."""

    def metrics(self) -> Iterator[MetricSample]:
        """Tell a monitoring system what it does."""

    def tick(self) -> None:
        """Look after things, once a second."""

    def reload(self) -> None:
        """Read the configuration file again."""


class AgentCore:
    """What agents of both kinds are made of."""

    def __init__(self, config: NodeConfig) -> None:
        self.store = StateStore(config.state_dir / "agent.db")
        self.node_uuid = self.store.node_uuid()
        self.fences = Fences(self.store)
        self.journal = Journal(self.store)
        self.orders = Orders(self.journal, self.fences)
        self.manager = ManagerClient(config.manager_endpoints, config.token_name, config.token_file)
        self.outbox = Outbox(self.manager)
        self.identity = config.identity
        self.logs = LogTail(config)

    def methods(self) -> dict[str, Method]:
        """Name what every agent can be told."""
        return {
            "vastsky.report": Method(Question, self._report),
            "vastsky.acknowledge": Method(Receipt, self._acknowledge),
            "vastsky.cancel": Method(CancelOrder, self.orders.cancel),
            "vastsky.fences": Method(FenceQuestion, self._fences),
            "vastsky.logs": Method(LogQuestion, self.logs.tell),
        }

    def seen(self) -> HighestSeen:
        """Tell the highest numbers that this node was ever told of."""
        return HighestSeen(self.journal.highest_event, self.fences.highest_group)

    def _fences(self, question: FenceQuestion) -> GroupFences:
        return GroupFences(self.fences.page(question.after))

    def _report(self, question: Question) -> Report:
        return self.orders.report(question.eventid, question.order)

    def _acknowledge(self, acknowledgement: Receipt) -> None:
        self.orders.acknowledge(acknowledgement.eventids)


def run(config: NodeConfig, build: Callable[[AgentCore], NodeRole]) -> None:
    """Be an agent until SIGTERM or SIGINT. What its engine runs goes on without it."""
    parts = AgentCore(config)
    parts.journal.prune()
    role = build(parts)
    methods = {**parts.methods(), **role.methods}
    server = AgentServer(
        config.addresses, config.port, methods, config.identity, node_uuid=parts.node_uuid
    )
    scraped = _metrics_server(config, role)
    ending, reloading = threading.Event(), threading.Event()

    def note(number: int, _: FrameType | None) -> None:
        (reloading if number == signal.SIGHUP else ending).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    role.start()
    parts.outbox.start()
    server.start()
    if scraped:
        scraped.start()
    logger.info("listening on %s, port %d", " and ".join(config.addresses), config.port)
    _tick_until(ending, reloading, role, parts)
    server.stop()
    if scraped:
        scraped.stop()
    logger.info("ended; what was served goes on")


def _metrics_server(config: NodeConfig, role: NodeRole) -> MetricsServer | None:
    if config.metrics_port == METRICS_OFF:
        return None
    networks = config.metrics_networks
    return MetricsServer(config.addresses, config.metrics_port, networks, role.metrics)


def _tick_until(
    ending: threading.Event, reloading: threading.Event, role: NodeRole, parts: AgentCore
) -> None:
    ticks = 0
    while not ending.wait(TICK_SECONDS):
        _guarded(role.tick)
        if reloading.is_set():
            reloading.clear()
            _guarded(role.reload)
        ticks += 1
        if ticks % PRUNE_TICKS == 0:
            _guarded(parts.journal.prune)


def _guarded(act: Callable[[], Any]) -> None:
    """Do it; what goes wrong is logged and the agent lives on."""
    try:
        act()
    except (AgentError, ConfigError) as error:
        logger.warning("%s", error)
    except Exception:
        logger.exception("%s failed", act.__qualname__)
