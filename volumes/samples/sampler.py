"""Takes the samples of each minute, in the worker that looks after the nodes."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from agents.io_figures import IoFigures, read_line
from agents.protocol import NodeFigures
from inventory.models import ALIVE, HeadServer, StorageServer
from volumes import nodes
from volumes.reports import capacity
from volumes.sample_models import ClusterSample, IoSample, Step
from volumes.samples import hours, packing, rates, recording, shown_volumes, work_done
from volumes.samples.packing import Io, Space

logger = logging.getLogger(__name__)

Kind = IoSample.Kind
Node = tuple[Kind, int]
"""A head or a storage server."""
PARTS = {Kind.HEAD: Kind.VOLUME, Kind.STORAGE: Kind.DISK}
SHORTEST = 10.0
LONGEST = 600.0
"""Seconds between two answers of a node of which a mean is told."""
ANSWER = 4.0


class Sampler:
    """Keeps what nodes and jobs told last; a worker that begins has its first minute after one."""

    def __init__(self) -> None:
        self._minute = 0
        self._told: dict[Node, tuple[float, dict[int, IoFigures]]] = {}
        self._shown: shown_volumes.Told = {}
        self._done: work_done.Done | None = None
        self._looked: tuple[float, datetime] = (0.0, datetime.min.replace(tzinfo=UTC))

    def look(self) -> None:
        """Sample the minute that has just ended, if this is the first look after its end."""
        now = timezone.now()
        minute = int(now.timestamp() // 60)
        if minute == self._minute:
            return
        begun, self._minute = bool(self._minute), minute
        io, work = self._measure(), self._work(now)
        if begun and _write(minute - 1, io, work):
            hours.keep(minute)

    def _measure(self) -> dict[Kind, dict[int, Io]]:
        """Ask all nodes; who does not answer, or is too old to know, has no sample."""
        found: dict[Kind, dict[int, Io]] = {kind: {} for kind in Kind}
        told = _ask()
        self._take_over(figures for (kind, _), (_, figures) in told.items() if kind == Kind.HEAD)
        answers = {node: (moment, _read(figures)) for node, (moment, figures) in told.items()}
        for node in self._told.keys() - answers.keys():
            del self._told[node]
        for (kind, server), now in answers.items():
            before, self._told[kind, server] = self._told.get((kind, server)), now
            if before is None or not SHORTEST <= (seconds := now[0] - before[0]) <= LONGEST:
                continue
            parts = {
                number: rates.between(before[1][number], figures, seconds)
                for number, figures in now[1].items()
                if number in before[1]
            }
            found[PARTS[kind]].update(parts)
            found[kind][server] = packing.total(parts.values())
        if heads := found[Kind.HEAD]:
            found[Kind.CLUSTER][0] = packing.total(heads.values())
        return found

    def _take_over(self, heads: Iterable[NodeFigures]) -> None:
        self._shown = shown_volumes.take_over(self._shown, shown_volumes.read(heads))

    def _work(self, now: datetime) -> dict[str, float]:
        """Measure work in MiB a second."""
        (before, since), moment = self._looked, time.monotonic()
        done = work_done.look(max(since, now - timedelta(minutes=10)))
        sums = work_done.between(self._done, done) if self._done is not None else {}
        self._done, self._looked = done, (moment, now)
        return {kind: mib / (moment - before) for kind, mib in sums.items() if moment > before}


def _ask() -> dict[Node, tuple[float, NodeFigures]]:
    """Ask all at once; each answer with the moment it came."""
    heads = HeadServer.objects.filter(priority__in=ALIVE).values_list("pk", flat=True)
    storages = StorageServer.objects.filter(priority__in=ALIVE).values_list("pk", flat=True)
    reached = {(Kind.HEAD, pk): agent for pk, agent in nodes.heads(list(heads)).items()} | {
        (Kind.STORAGE, pk): agent for pk, agent in nodes.storages(list(storages)).items()
    }
    questions = {
        f"{kind} {server}": lambda agent=agent: (agent.figures(), time.monotonic())
        for (kind, server), agent in reached.items()
    }
    answers = nodes.ask_all(questions, within=ANSWER)
    found = {}
    for kind, server in reached:
        answer = answers[f"{kind} {server}"]
        if isinstance(answer, tuple):
            found[kind, server] = answer[1], answer[0]
    return found


def _read(told: NodeFigures) -> dict[int, IoFigures]:
    return {figures.number: figures for figures in _lines(told.lines)}


def _lines(lines: Iterable[str]) -> Iterable[IoFigures]:
    for line in lines:
        try:
            yield read_line(line)
        except ValueError as error:
            logger.warning("%s", error)


def _write(minute: int, io: dict[Kind, dict[int, Io]], work: dict[str, float]) -> bool:
    """Write all of a minute, if nobody has; the row of the cluster decides."""
    usage = capacity.of_cluster()
    of_cluster = ClusterSample(
        step=Step.MINUTE,
        at=minute,
        capacity_gb=usage.capacity,
        used_gb=usage.used,
        free_gb=usage.free + usage.resting,
        **{f"{kind}_mib": mib for kind, mib in work.items()},
    )
    io = io | _space()
    rows = [
        IoSample(kind=kind, shard=shard, step=Step.MINUTE, at=minute, data=data)
        for kind, samples in io.items()
        for shard, data in packing.shards(kind, samples)
    ]
    return recording.record(of_cluster, rows)


def _space() -> dict[Kind, dict[int, Io]]:
    """Tell what is used of every disk, and of every server by its disks."""
    disks: dict[int, Io] = {}
    servers: dict[int, list[Io]] = defaultdict(list)
    for disk, server, used_gb, capacity_gb in capacity.used_of_disks():
        disks[disk] = Space(used_gb, capacity_gb).packed
        servers[server].append(disks[disk])
    whole = {server: packing.total(parts) for server, parts in servers.items()}
    return {Kind.DISK_SPACE: disks, Kind.STORAGE_SPACE: whole}
