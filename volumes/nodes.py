"""From a server's row to its agent, and the same question to many agents at once."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

from django.conf import settings

from agents.client import AgentUnreachable, Fault, HeadAgent, StorageAgent
from agents.struct_codec import Malformed
from inventory.models import ALIVE, Address, HeadServer, StorageServer

K = TypeVar("K", int, str)
T = TypeVar("T")
A = TypeVar("A", HeadAgent, StorageAgent)
NODE_ERRORS = (AgentUnreachable, Fault, Malformed)
Failure = AgentUnreachable | Fault | Malformed

LONGEST = 30.0
"""Seconds within which everybody that is asked has answered; longer than any may take."""

_POOL = ThreadPoolExecutor(max_workers=32, thread_name_prefix="nodes")
"""Threads that only talk to nodes; none of them touches the database."""


def storage(server_id: int) -> StorageAgent:
    """Reach one storage server's agent."""
    return storages([server_id])[server_id]


def storages(server_ids: list[int], timeout: float | None = None) -> dict[int, StorageAgent]:
    """Reach the agents of these storage servers; one query. `timeout` shortens what calls take."""
    return {
        server: _reach(StorageAgent, where, node_uuid, timeout)
        for server, (where, node_uuid) in _places(StorageServer, server_ids).items()
    }


def head(server_id: int) -> HeadAgent:
    """Reach one head server's agent."""
    return heads([server_id])[server_id]


def heads(server_ids: list[int]) -> dict[int, HeadAgent]:
    """Reach the agents of these head servers; one query."""
    return {
        server: _reach(HeadAgent, where, node_uuid)
        for server, (where, node_uuid) in _places(HeadServer, server_ids).items()
    }


def _places(
    kind: type[HeadServer | StorageServer], server_ids: list[int]
) -> dict[int, tuple[tuple[str, ...], str]]:
    """Read where servers are, and which node each is; one that others took it from is nowhere."""
    found: dict[int, tuple[tuple[str, ...], str]] = {}
    rows = kind.objects.filter(pk__in=server_ids).order_by("pk", "addresses__position")
    for server, node_uuid, address in rows.values_list("pk", "node_uuid", "addresses__address"):
        before, _ = found.get(server, ((), ""))
        found[server] = ((*before, address) if address else before, node_uuid)
    return found


def _reach(
    kind: type[A], addresses: Sequence[str], node_uuid: str = "", timeout: float | None = None
) -> A:
    ports = {
        HeadAgent: settings.VASTSKY_HEAD_AGENT_PORT,
        StorageAgent: settings.VASTSKY_STORAGE_AGENT_PORT,
    }
    return kind(addresses, ports[kind], timeout, settings.VASTSKY_IDENTITY, node_uuid)


def storage_at(addresses: Sequence[str]) -> StorageAgent:
    """Reach a storage agent that no row tells of."""
    return _reach(StorageAgent, addresses)


def head_at(addresses: Sequence[str]) -> HeadAgent:
    """Reach a head agent that no row tells of."""
    return _reach(HeadAgent, addresses)


class AddressAgent(NamedTuple):
    """One address of a server, and the agent as reached through it alone; which node is meant."""

    server: int
    node_uuid: str
    agent: StorageAgent | HeadAgent


def storage_agents_by_address() -> dict[int, AddressAgent]:
    """Reach living storage servers by each address alone, by the address's id."""
    rows = Address.objects.filter(storage__priority__in=ALIVE)
    named = rows.values_list("pk", "storage", "address", "storage__node_uuid")
    return _doors(StorageAgent, named)


def head_agents_by_address() -> dict[int, AddressAgent]:
    """Reach living heads by each address alone, by the address's id."""
    rows = Address.objects.filter(head__priority__in=ALIVE)
    return _doors(HeadAgent, rows.values_list("pk", "head", "address", "head__node_uuid"))


def _doors(kind: type[A], rows: Iterable[tuple[Any, ...]]) -> dict[int, AddressAgent]:
    timeout = settings.VASTSKY_AGENT_TIMEOUT
    return {
        pk: AddressAgent(server or 0, node_uuid, _reach(kind, [address], node_uuid, timeout))
        for pk, server, address, node_uuid in rows
    }


def ask_all(
    questions: Mapping[K, Callable[[], T]], within: float = LONGEST
) -> dict[K, T | Failure]:
    """Ask all at once and wait for every answer; a node's failure is its answer.

    Where so many nodes are hung that no thread is free, one that was not even asked is silent too.
    """
    asked = {key: _POOL.submit(_answer, question) for key, question in questions.items()}
    end = time.monotonic() + within
    return {key: _wait(future, end) for key, future in asked.items()}


def _wait(future: Future[T | Failure], end: float) -> T | Failure:
    done, _ = wait([future], timeout=max(end - time.monotonic(), 0.0))
    if not done:
        future.cancel()
        return AgentUnreachable("it was not asked in time: too many nodes are hung")
    return future.result()


def _answer(question: Callable[[], T]) -> T | Failure:
    try:
        return question()
    except NODE_ERRORS as error:
        return error
