"""Make storage servers export, or evict, the replicas of one epoch of a group."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from agents.protocol import (
    EvictOrder,
    ExportOrder,
    ExportReply,
    ReplicaMark,
    ReplicaSource,
    ReplicaSpec,
    ReplicaState,
    export_name,
)
from inventory import servers
from volumes import nodes
from volumes.replicas.rows import ReplicaRow, about, by_server, secret, storage_addresses


@dataclass(frozen=True, slots=True)
class Exported:
    """What answered: marks by dextid, where each is served, and who failed with which reason."""

    epoch: int
    marks: Mapping[int, ReplicaMark]
    sources: Mapping[int, ReplicaSource]
    failed: Mapping[int, str]
    occupied: Collection[int] = ()
    """Of those that failed: in whose space something else lies."""

    def replica(self, replica: ReplicaRow, state: ReplicaState) -> ReplicaSpec:
        """Describe a replica to a head as reached through its export."""
        source = self.sources[replica.dextid]
        return ReplicaSpec(replica.dextid, source.addresses, source.port, source.export, state)


def export(eventid: int, group: int, epoch: int, replicas: Iterable[ReplicaRow]) -> Exported:
    """Have every server evict older epochs of the group and export these replicas for this one."""
    incarnation = servers.cluster().incarnation
    chosen = by_server(replicas)
    agents = nodes.storages(list(chosen))
    word = secret(group, epoch)
    answers = nodes.ask_all(
        {
            server: partial(
                agents[server].export,
                ExportOrder(
                    eventid,
                    incarnation,
                    group,
                    epoch,
                    word,
                    tuple(c.ref for c in wanted),
                    about(wanted),
                ),
            )
            for server, wanted in chosen.items()
        }
    )
    return _collect(epoch, word, chosen, answers)


def _collect(
    epoch: int,
    word: str,
    chosen: Mapping[int, list[ReplicaRow]],
    answers: Mapping[int, ExportReply | nodes.Failure],
) -> Exported:
    addresses = storage_addresses(chosen)
    marks: dict[int, ReplicaMark] = {}
    sources: dict[int, ReplicaSource] = {}
    failed: dict[int, str] = {}
    occupied: set[int] = set()
    for server, wanted in chosen.items():
        answer = answers[server]
        if not isinstance(answer, ExportReply):
            failed.update({r.dextid: f"{r.server_label}: {answer}" for r in wanted})
            continue
        asked = {replica.dextid for replica in wanted}
        occupied.update(asked.intersection(answer.occupied))
        marks.update({m.dextid: m for m in answer.marks if m.dextid in asked})
        for replica in wanted:
            if replica.dextid in marks:
                name = export_name(replica.dextid, epoch, word)
                sources[replica.dextid] = ReplicaSource(addresses[server], answer.port, name)
            else:
                reason = answer.refused.get(str(replica.dextid), "not exported")
                failed[replica.dextid] = f"{replica.server_label}: {reason}"
    return Exported(epoch, marks, sources, failed, occupied)


def evict(
    eventid: int,
    group: int,
    epoch: int,
    servers_: Iterable[int],
    dextids: Iterable[int] = (),
    *,
    unsure: Iterable[int] = (),
) -> dict[int, nodes.Failure]:
    """Have servers drop the group's exports up to this epoch; who failed, with the failure.

    Those of `unsure` are asked as well, briefly, and do not count: a server that was declared
    failed may serve the epoch all the same.
    """
    incarnation = servers.cluster().incarnation
    counted = set(servers_)
    agents = nodes.storages(list(set(unsure) - counted), settings.VASTSKY_AGENT_TIMEOUT)
    agents |= nodes.storages(list(counted))
    order = EvictOrder(eventid, incarnation, group, epoch, tuple(dextids))
    answers = nodes.ask_all(
        {server: partial(agent.evict, order) for server, agent in agents.items()}
    )
    return {
        server: answer
        for server, answer in answers.items()
        if server in counted and isinstance(answer, nodes.NODE_ERRORS)
    }
