"""A head agent: the parts that only a head has, and how they hang together."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from agents.boot import boot_id
from agents.engines.base import HeadEngine
from agents.exposition import MetricSample
from agents.node import io_lines, node_metrics
from agents.node.config import HeadConfig
from agents.node.daemon import AgentCore
from agents.node.head import head_metrics, shown_devices
from agents.node.head.births import Births
from agents.node.head.group_watch import GroupWatch
from agents.node.head.groups import Groups
from agents.node.head.head_orders import HeadOrders
from agents.node.head.path_watch import PathWatch
from agents.node.methods import Method, Nothing
from agents.node.registration import HEAD, Registration
from agents.protocol import (
    AttachOrder,
    DetachOrder,
    GroupState,
    HeadState,
    NodeFigures,
    PathQuestion,
    Reason,
    RebuildOrder,
    RelocateOrder,
    ReplicaState,
    SnapshotOrder,
    Target,
    UnsnapshotOrder,
    VerifyOrder,
)

logger = logging.getLogger(__name__)

STATE_SECONDS = 1.0
"""The manager waits 2 s for a state."""
WATCH_SECONDS = 5.0


class HeadRole:
    """Makes an agent a head."""

    def __init__(self, config: HeadConfig, engine: HeadEngine, parts: AgentCore) -> None:
        self._engine = engine
        self._links_dir = config.links_dir
        self._groups = Groups(engine)
        self._parts = parts
        self._orders = HeadOrders(
            engine=engine,
            fences=parts.fences,
            births=Births(parts.store),
            orders=parts.orders,
            assembled=self._assembled,
            given_up=self._given_up,
        )
        failed = partial(parts.outbox.failure, Target.REPLICA)
        self._watch = GroupWatch(engine, failed, self._is_of_this_boot)
        self._paths = PathWatch()
        self._registration = Registration(
            kind=HEAD,
            config=config,
            manager=parts.manager,
            store=parts.store,
            admit=parts.orders.admit,
            boot_id=boot_id,
        )

    @property
    def methods(self) -> dict[str, Method]:
        """Name what only a head can be told."""
        return {
            "vastsky.state": Method(Nothing, self._state),
            "vastsky.figures": Method(Nothing, self._figures),
            "vastsky.attach": Method(AttachOrder, self._orders.attach),
            "vastsky.detach": Method(DetachOrder, self._orders.detach),
            "vastsky.snapshot": Method(SnapshotOrder, self._orders.snapshot),
            "vastsky.unsnapshot": Method(UnsnapshotOrder, self._orders.unsnapshot),
            "vastsky.rebuild": Method(RebuildOrder, self._orders.rebuild),
            "vastsky.relocate": Method(RelocateOrder, self._orders.relocate),
            "vastsky.verify": Method(VerifyOrder, self._orders.verify),
            "vastsky.paths": Method(PathQuestion, self._paths.tell),
        }

    def start(self) -> None:
        """Go on with what was begun, and register."""
        self._clear_away_what_ended_with_the_machine()
        self._engine.start()
        self._orders.resume(self._parts.journal)
        self._registration.start()

    def metrics(self) -> Iterator[MetricSample]:
        """Tell a monitoring system what it does."""
        number, parts = self._registration.server_id, self._parts
        yield from node_metrics.tell("head", number, parts.orders, parts.outbox, parts.identity)
        groups = self._groups.tell(STATE_SECONDS)
        yield from head_metrics.tell(groups, self._engine.figures())

    def tick(self) -> None:
        """Watch the groups."""
        self._watch.look(self._groups.tell(WATCH_SECONDS))

    def reload(self) -> None:
        """Register again; nothing else of a head can change while it runs."""
        self._registration.request()

    def _assembled(self, lvolid: int) -> None:
        self._parts.store.learn(_memory(lvolid), boot_id())

    def _given_up(self, lvolid: int) -> None:
        """Forget when a group was assembled: what dies now is not brought back."""
        self._parts.store.learn(_memory(lvolid), "")

    def _is_of_this_boot(self, lvolid: int) -> bool:
        """A group that ended with the machine comes back only when the manager says so."""
        return self._parts.store.fact(_memory(lvolid)) == boot_id()

    def _clear_away_what_ended_with_the_machine(self) -> None:
        """Told as here but dead, a group would seem to be on its way back for ever."""
        for group in self._engine.groups():
            if not group.alive and not self._is_of_this_boot(group.lvolid):
                logger.warning("group %d ended with the machine", group.lvolid)
                self._engine.detach(group.lvolid)

    def _state(self, _: Nothing) -> HeadState:
        self._registration.was_asked()
        return HeadState(
            self._registration.server_id,
            boot_id(),
            self._registration.cluster,
            self._parts.fences.incarnation,
            tuple(map(_remarkable, self._groups.tell(STATE_SECONDS))),
            self._groups.age(),
            self._parts.seen(),
            self._parts.node_uuid,
        )

    def _figures(self, _: Nothing) -> NodeFigures:
        """Ask the groups first: what was counted is as old as their last answer."""
        groups, folder = self._groups.tell(STATE_SECONDS), self._links_dir
        told = (io_lines.line(one.lvolid, one.operations) for one in self._engine.figures())
        return NodeFigures(tuple(told), str(folder), tuple(shown_devices.lines(groups, folder)))


def _remarkable(group: GroupState) -> GroupState:
    """Leave out mirrors whose replicas are simply in sync: there may be a hundred thousand.

    Of the others all are told: which replicas are left matters as much as which are lost.
    """
    plain = (ReplicaState.INSYNC, Reason.NONE)
    told = {
        replica.mirrorid for replica in group.replicas if (replica.state, replica.reason) != plain
    }
    return replace(group, replicas=tuple(c for c in group.replicas if c.mirrorid in told))


def _memory(lvolid: int) -> str:
    """Name the fact that tells in which start of the machine a group was assembled."""
    return f"boot of group {lvolid}"
