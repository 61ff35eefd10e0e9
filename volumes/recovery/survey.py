"""Ask every node for all that it knows: what disks hold, what is exported, what runs, how new."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from agents.client import HeadAgent, StorageAgent
from agents.protocol import FenceQuestion, FoundReplica, GroupState, HeadState, StorageState
from inventory.models import Disk, HeadServer, StorageServer
from volumes import nodes
from volumes.orphans import occupants

WITHIN = 3600.0
"""Seconds for all pages of all nodes: each page is one call that ends by itself in a few."""


@dataclass(frozen=True, slots=True)
class DiskTold:
    """One disk as its server tells it."""

    server: int
    name: str
    number: int
    generation: int
    replicas: tuple[FoundReplica, ...]


@dataclass(frozen=True, slots=True)
class GroupTold:
    """One group as its head tells it."""

    head: int
    group: GroupState


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was told. `silent` names who did not answer, and what came instead."""

    disks: tuple[DiskTold, ...] = ()
    groups: tuple[GroupTold, ...] = ()
    fences: Mapping[int, int] = field(default_factory=dict)
    event: int = 0
    number: int = 0
    incarnation: int = 0
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> dict[int, GroupTold]:
        """The groups that run and were not fenced off, each as its latest epoch."""
        latest: dict[int, GroupTold] = {}
        for told in sorted(self.groups, key=lambda told: told.group.epoch):
            if told.group.epoch >= self.fences.get(told.group.lvolid, 0):
                latest[told.group.lvolid] = told
        return latest


@dataclass(frozen=True, slots=True)
class _NodeTold:
    """What one node told."""

    state: StorageState | HeadState
    fences: Mapping[int, int]
    disks: tuple[DiskTold, ...] = ()
    groups: tuple[GroupTold, ...] = ()


def take(only: Collection[str] = ()) -> Survey:
    """Ask all nodes that are registered, at once, halted or out as they may be; or some alone."""
    storages = nodes.storages(list(StorageServer.objects.values_list("pk", flat=True)))
    heads = nodes.heads(list(HeadServer.objects.values_list("pk", flat=True)))
    questions: dict[str, Callable[[], _NodeTold]] = {
        **{f"ssvr-{pk:08x}": partial(_storage, pk, one) for pk, one in storages.items()},
        **{f"hsvr-{pk:08x}": partial(_head, pk, one) for pk, one in heads.items()},
    }
    answers = nodes.ask_all(
        {node: ask for node, ask in questions.items() if not only or node in only}, within=WITHIN
    )
    told = [answer for answer in answers.values() if isinstance(answer, _NodeTold)]
    states = [one.state for one in told]
    return Survey(
        disks=_one_each([disk for one in told for disk in one.disks]),
        groups=tuple(group for one in told for group in one.groups),
        fences=_highest(one.fences for one in told),
        event=max((state.seen.event for state in states), default=0),
        number=max((max(s.seen.group, s.seen.extent) for s in states), default=0),
        incarnation=max((state.incarnation for state in states), default=0),
        silent={n: str(a) for n, a in answers.items() if not isinstance(a, _NodeTold)},
    )


def _one_each(told: Iterable[DiskTold]) -> tuple[DiskTold, ...]:
    """Of disks that bear one label take the one where it is known to be, or that got furthest."""
    places = dict(Disk.objects.exclude(disk_uuid="").values_list("disk_uuid", "server"))
    chosen: dict[str, DiskTold] = {}
    for disk in sorted(told, key=lambda disk: (places.get(disk.name) == disk.server, _age(disk))):
        chosen[disk.name] = disk
    return tuple(sorted(chosen.values(), key=lambda disk: (disk.server, disk.name)))


def _age(disk: DiskTold) -> tuple[int, int, int]:
    """Tell how far a disk got: of a copy and its original one was used on."""
    marks = [found.mark for found in disk.replicas if found.live]
    return disk.generation, sum(m.epoch for m in marks), sum(m.events for m in marks)


def _storage(server: int, agent: StorageAgent) -> _NodeTold:
    state = agent.state()
    disks = tuple(
        DiskTold(
            server, one.disk, one.pdskid, one.generation, tuple(occupants.read(agent, one.disk))
        )
        for one in state.disks
        if not one.error
    )
    return _NodeTold(state, _fences(agent), disks=disks)


def _head(head: int, agent: HeadAgent) -> _NodeTold:
    state = agent.state()
    groups = tuple(GroupTold(head, group) for group in state.groups)
    return _NodeTold(state, _fences(agent), groups=groups)


def _fences(agent: StorageAgent | HeadAgent) -> dict[int, int]:
    """Ask for the lowest epochs that a node allows, a page at a time."""
    found: dict[int, int] = {}
    while page := agent.fences(FenceQuestion(max(found, default=0))).fences:
        found.update({fence.lvolid: fence.epoch for fence in page})
    return found


def _highest(all_fences: Iterable[Mapping[int, int]]) -> dict[int, int]:
    highest: dict[int, int] = {}
    for fences in all_fences:
        for lvolid, epoch in fences.items():
            highest[lvolid] = max(epoch, highest.get(lvolid, 0))
    return highest
