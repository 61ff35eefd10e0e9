"""Watching the groups of a head whose engine is played by a few lines."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from agents.errors import AgentError
from agents.node.head.group_watch import GroupWatch
from agents.node.head.groups import Groups
from agents.protocol import GroupState, Reason, ReplicaReport, ReplicaState

if TYPE_CHECKING:
    from agents.engines.base import HeadEngine


class FakeEngine:
    """Tells the groups it is given; hangs while `gate` is closed."""

    def __init__(self) -> None:
        self.told: list[GroupState] = []
        self.revived: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def groups(self) -> list[GroupState]:
        self.gate.wait(10)
        return list(self.told)

    def revive(self, lvolid: int) -> None:
        self.revived.append(lvolid)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def group(lvolid: int, *replicas: ReplicaReport, alive: bool = True) -> GroupState:
    return GroupState(lvolid, 1, alive, (), replicas)


def faulty(dextid: int, why: str) -> ReplicaReport:
    return ReplicaReport(dextid, 9, ReplicaState.FAULTY, 1, Reason(why))


def watch(engine: FakeEngine, told: list[Any], *, may_revive: bool = True) -> GroupWatch:
    engine_like = cast("HeadEngine", engine)
    return GroupWatch(engine_like, lambda *what: told.append(what), lambda _: may_revive)


def test_a_failed_replica_is_told_once_and_again_after_it_had_come_back(engine: FakeEngine) -> None:
    told: list[Any] = []
    watching = watch(engine, told)
    bad, good = group(1, faulty(5, "io")), group(1)

    for groups in (bad, bad, good, bad, bad):
        watching.look([groups])

    assert told == [(5, "io"), (5, "io")]


def test_replicas_that_the_manager_left_out_are_not_told(engine: FakeEngine) -> None:
    told: list[Any] = []

    watch(engine, told).look(
        [group(1, *(faulty(n, why) for n, why in enumerate(("", "stale", "asked"))))]
    )

    assert told == []


def test_a_dead_group_is_revived_only_in_the_boot_that_assembled_it(
    engine: FakeEngine, wait_until: Callable[..., Any]
) -> None:
    dead = group(4, alive=False)
    watch(engine, [], may_revive=False).look([dead, group(3)])
    watch(engine, []).look([group(3), dead])

    wait_until(lambda: engine.revived)
    assert engine.revived == [4]


def test_a_hanging_group_does_not_hide_the_others(engine: FakeEngine) -> None:
    groups = Groups(cast("HeadEngine", engine))
    engine.gate.clear()
    with pytest.raises(AgentError):
        groups.tell(0.05)
    engine.gate.set()
    engine.told = [group(1)]
    assert groups.tell(5) in {(), (group(1),)}
    assert groups.tell(5) == (group(1),)

    engine.gate.clear()
    engine.told = []
    assert groups.tell(0.05) == (group(1),)
    engine.gate.set()
