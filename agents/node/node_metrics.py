"""What agents of both kinds tell: who they are, what they do, what they could not say yet."""

import logging
from collections import Counter
from collections.abc import Iterator

from agents import own_process
from agents.certificate_end import end_of
from agents.engines.base import OperationFigures
from agents.exposition import Distribution, MetricFamily, MetricSample, counter, gauge, histogram
from agents.identity import Identity
from agents.node.orders import Orders
from agents.node.outbox import Outbox
from agents.ondisk import MIB
from agents.version import VERSION

logger = logging.getLogger(__name__)

AGENT = gauge("vastsky_agent_info", "1; the labels tell which agent answers.", "kind", "version")
SERVER = gauge(
    "vastsky_agent_server_id", "The number that the manager gave this node; 0: none yet."
)
CERTIFICATE = gauge(
    "vastsky_agent_certificate_end_timestamp_seconds",
    "When a certificate of this node ends, in Unix time.",
    "certificate",
)
UNTOLD = gauge(
    "vastsky_agent_notifications_waiting", "Notifications that the manager has not taken yet."
)
ORDERS = gauge("vastsky_agent_orders_running", "Orders of the manager under way.", "order")
DONE = gauge(
    "vastsky_agent_orders_done_bytes", "How far the orders under way are together.", "order"
)
SIZE = gauge(
    "vastsky_agent_orders_size_bytes", "How much the orders under way are together.", "order"
)


def tell(
    kind: str, server_id: int, orders: Orders, outbox: Outbox, identity: Identity | None
) -> Iterator[MetricSample]:
    """Tell of the agent itself."""
    yield AGENT.of(1, kind, VERSION)
    yield SERVER.of(server_id)
    yield UNTOLD.of(outbox.waiting)
    counts, done, size = Counter[str](), Counter[str](), Counter[str]()
    for method, report in orders.running():
        order = method.removeprefix("vastsky.")
        counts[order] += 1
        done[order] += report.done_mib
        size[order] += report.total_mib
    for order, count in sorted(counts.items()):
        yield ORDERS.of(count, order)
        yield DONE.of(done[order] * MIB, order)
        yield SIZE.of(size[order] * MIB, order)
    yield from _certificates(identity)
    yield from own_process.tell()


def _certificates(identity: Identity | None) -> Iterator[MetricSample]:
    """Read the files anew: they may be replaced while we run. What cannot be read has no sample."""
    files = {"node": identity.certificate, "authority": identity.authority} if identity else {}
    for name, path in files.items():
        try:
            yield CERTIFICATE.of(end_of(path).timestamp(), name)
        except (OSError, ValueError) as error:
            logger.warning("%s: %s", path, error)


class RequestFamilies:
    """How requests to something are told: how long they took, how much they moved, what failed."""

    def __init__(self, prefix: str, what: str, *labels: str) -> None:
        labels = (*labels, "operation")
        self.requests = counter(f"{prefix}_requests_total", f"Requests to {what}.", *labels)
        self.bytes = counter(
            f"{prefix}_request_bytes_total",
            f"Bytes that requests to {what} were to read, write or discard.",
            *labels,
        )
        self.seconds = histogram(
            f"{prefix}_request_duration_seconds",
            f"How long one in sixteen of the requests to {what} took, in seconds.",
            *labels,
        )
        self.errors = counter(
            f"{prefix}_request_errors_total", f"Requests to {what} that failed.", *labels
        )

    @property
    def all(self) -> list[MetricFamily]:
        """List them."""
        return [self.requests, self.bytes, self.errors, self.seconds]

    def tell(
        self, operations: tuple[OperationFigures, ...], *labels: object
    ) -> Iterator[MetricSample]:
        """Tell what was counted."""
        for one in operations:
            yield self.requests.of(one.requests, *labels, one.operation)
            yield self.bytes.of(one.bytes, *labels, one.operation)
            yield self.errors.of(one.errors, *labels, one.operation)
            if len(one.counts) == len(one.bounds) + 1:
                spread = Distribution(one.bounds, one.counts, one.seconds)
                yield self.seconds.of(spread, *labels, one.operation)
