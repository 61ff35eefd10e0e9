"""Make storage servers export, or evict, the copies of one epoch of a group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from agents.protocol import (
    CopyMark,
    CopySource,
    EvictOrder,
    ExportOrder,
    ExportReply,
    LegSpec,
    LegState,
    export_name,
)
from inventory import servers
from volumes import nodes
from volumes.replicas.rows import Copy, by_server, secret, storage_addresses


@dataclass(frozen=True, slots=True)
class Exports:
    """What answered: marks by dextid, where each is served, and who failed with which reason."""

    epoch: int
    marks: Mapping[int, CopyMark]
    sources: Mapping[int, CopySource]
    failed: Mapping[int, str]

    def leg(self, copy: Copy, state: LegState) -> LegSpec:
        """Describe a copy to a head as reached through its export."""
        source = self.sources[copy.dextid]
        return LegSpec(copy.dextid, source.addresses, source.port, source.export, state)


def export(eventid: int, group: int, epoch: int, copies: Iterable[Copy]) -> Exports:
    """Have every server evict older epochs of the group and export these copies for this one."""
    incarnation = servers.cluster().incarnation
    chosen = by_server(copies)
    agents = nodes.storages(list(chosen))
    word = secret(group, epoch)
    answers = nodes.ask_all(
        {
            server: partial(
                agents[server].export,
                ExportOrder(eventid, incarnation, group, epoch, word, tuple(c.ref for c in wanted)),
            )
            for server, wanted in chosen.items()
        }
    )
    return _collect(epoch, word, chosen, answers)


def _collect(
    epoch: int,
    word: str,
    chosen: Mapping[int, list[Copy]],
    answers: Mapping[int, ExportReply | nodes.Failure],
) -> Exports:
    addresses = storage_addresses(chosen)
    marks: dict[int, CopyMark] = {}
    sources: dict[int, CopySource] = {}
    failed: dict[int, str] = {}
    for server, wanted in chosen.items():
        answer = answers[server]
        if not isinstance(answer, ExportReply):
            failed.update({copy.dextid: f"ssvr-{server:08x}: {answer}" for copy in wanted})
            continue
        asked = {copy.dextid for copy in wanted}
        marks.update({m.dextid: m for m in answer.marks if m.dextid in asked})
        for copy in wanted:
            if copy.dextid in marks:
                name = export_name(copy.dextid, epoch, word)
                sources[copy.dextid] = CopySource(addresses[server], answer.port, name)
            else:
                reason = answer.refused.get(str(copy.dextid), "not exported")
                failed[copy.dextid] = f"ssvr-{server:08x}: {reason}"
    return Exports(epoch, marks, sources, failed)


def evict(
    eventid: int, group: int, epoch: int, servers_: Iterable[int], dextids: Iterable[int] = ()
) -> dict[int, nodes.Failure]:
    """Have servers drop the group's exports up to this epoch; who failed, with the failure."""
    incarnation = servers.cluster().incarnation
    agents = nodes.storages(list(set(servers_)))
    order = EvictOrder(eventid, incarnation, group, epoch, tuple(dextids))
    answers = nodes.ask_all(
        {server: partial(agent.evict, order) for server, agent in agents.items()}
    )
    return {s: answer for s, answer in answers.items() if isinstance(answer, nodes.NODE_ERRORS)}
