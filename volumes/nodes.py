"""From a server's row to its agent, and the same question to many agents at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeVar

from django.conf import settings

from agents.client import AgentUnreachable, Fault, HeadAgent, StorageAgent
from agents.protocol import Malformed
from inventory.models import ALIVE, Address
from volumes.replicas.rows import storage_addresses

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
        server: _reach(StorageAgent, addresses, timeout)
        for server, addresses in storage_addresses(server_ids).items()
    }


def head(server_id: int) -> HeadAgent:
    """Reach one head server's agent."""
    return heads([server_id])[server_id]


def heads(server_ids: list[int]) -> dict[int, HeadAgent]:
    """Reach the agents of these head servers; one query."""
    found: dict[int, tuple[str, ...]] = {}
    rows = Address.objects.filter(head__in=server_ids).order_by("head", "position")
    for server, address in rows.values_list("head", "address"):
        found[server] = (*found.get(server, ()), address)
    return {server: _reach(HeadAgent, addresses) for server, addresses in found.items()}


def _reach(kind: type[A], addresses: Sequence[str], timeout: float | None = None) -> A:
    ports = {
        HeadAgent: settings.VASTSKY_HEAD_AGENT_PORT,
        StorageAgent: settings.VASTSKY_STORAGE_AGENT_PORT,
    }
    return kind(addresses, ports[kind], timeout, settings.VASTSKY_IDENTITY)


def storage_at(addresses: Sequence[str]) -> StorageAgent:
    """Reach a storage agent that no row tells of."""
    return _reach(StorageAgent, addresses)


def head_at(addresses: Sequence[str]) -> HeadAgent:
    """Reach a head agent that no row tells of."""
    return _reach(HeadAgent, addresses)


class AddressAgent(NamedTuple):
    """One address of a server, and the agent as reached through it alone."""

    server: int
    agent: StorageAgent | HeadAgent


def storage_agents_by_address() -> dict[int, AddressAgent]:
    """Reach living storage servers by each address alone, by the address's id."""
    rows = Address.objects.filter(storage__priority__in=ALIVE)
    return {
        pk: AddressAgent(
            server or 0, _reach(StorageAgent, [address], settings.VASTSKY_AGENT_TIMEOUT)
        )
        for pk, server, address in rows.values_list("pk", "storage", "address")
    }


def head_agents_by_address() -> dict[int, AddressAgent]:
    """Reach living heads by each address alone, by the address's id."""
    rows = Address.objects.filter(head__priority__in=ALIVE)
    return {
        pk: AddressAgent(server or 0, _reach(HeadAgent, [address], settings.VASTSKY_AGENT_TIMEOUT))
        for pk, server, address in rows.values_list("pk", "head", "address")
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
