"""Which head reaches which storage server by which network, and how fast: asked of the heads."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice

from django.conf import settings

from agents.client import Fault
from agents.protocol import MOST_PATHS, NO_ANSWER, PathQuestion, PathReply
from inventory.models import ALIVE, Address, HeadServer, StorageServer
from volumes import nodes

SLOW_MICROS = 20_000
"""A handshake within one site takes less than a tenth of it."""
OLD_SECONDS = 60
"""Heads measure every ten seconds or so, as long as somebody asks."""
WITHIN = 3.0
DATA_PORT = 8884
"""Where data servers are that never said where: an older agent's default."""
NETWORKS = 2


class State(StrEnum):
    """What is known of a path; NONE: there is no such address."""

    OK = "ok"
    SLOW = "slow"
    DOWN = "down"
    UNKNOWN = "unknown"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Path:
    """The way from a head to a storage server by one network."""

    state: State
    micros: int = 0

    def __str__(self) -> str:
        if self.state in {State.OK, State.SLOW}:
            return f"{self.state}, {self.micros / 1000:.1f} ms"
        return str(self.state)


UNKNOWN, NONE = Path(State.UNKNOWN), Path(State.NONE)


@dataclass(frozen=True, slots=True)
class Reached:
    """A storage server with the paths to it, one of each network, by head in the given order."""

    server: StorageServer
    paths: list[tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All heads and storage servers, and why a head's paths are unknown."""

    heads: list[HeadServer]
    rows: list[Reached]
    unknown: dict[int, str]


def read(*, ask_older: bool = True) -> Matrix:
    """Ask all heads at once how far all storage servers are.

    Agents of a release that tells none measure nothing, and write a line at each such question.
    """
    servers = list(StorageServer.objects.order_by("pk"))
    heads = list(HeadServer.objects.filter(priority__in=ALIVE).order_by("pk"))
    addresses, ports = _addresses()
    asked = dict(islice(ports.items(), MOST_PATHS))
    able = [one.pk for one in heads if one.silent_since is None and (ask_older or one.version)]
    answers = _ask(able, asked)
    known: dict[int, dict[str, int]] = {}
    unknown: dict[int, str] = {}
    for head in heads:
        answer = answers.get(head.pk)
        if isinstance(answer, PathReply) and answer.age <= OLD_SECONDS:
            known[head.pk] = dict(zip(asked, answer.micros, strict=False))
        else:
            unknown[head.pk] = _why(answer)
    rows = [
        Reached(
            server,
            [_paths(server.pk, addresses, known.get(head.pk, {})) for head in heads],
        )
        for server in servers
    ]
    return Matrix(heads, rows, unknown)


def _ask(heads: list[int], ports: dict[str, int]) -> dict[int, PathReply | nodes.Failure]:
    older = settings.VASTSKY_STORAGE_AGENT_PORT
    question = PathQuestion(tuple(ports), older, tuple(ports.values()))
    agents = nodes.heads(heads)
    return nodes.ask_all({pk: partial(one.paths, question) for pk, one in agents.items()}, WITHIN)


def _why(answer: PathReply | nodes.Failure | None) -> str:
    """Say why nothing is known."""
    if answer is None:
        return "it does not answer"
    if isinstance(answer, PathReply):
        return f"its report is {answer.age} s old"
    if isinstance(answer, Fault):
        return "its agent is of an older release, which measures nothing"
    return f"it does not answer: {answer}"


def _addresses() -> tuple[dict[tuple[int, int], str], dict[str, int]]:
    """Read the addresses of all storage servers, by server and network, and where data is there.

    A firewall may let heads to no other port.
    """
    rows = Address.objects.exclude(storage=None).order_by("position", "storage")
    addresses: dict[tuple[int, int], str] = {}
    ports: dict[str, int] = {}
    for server, position, address, iscsi, data in rows.values_list(
        "storage", "position", "address", "storage__iscsi_port", "storage__data_port"
    ):
        addresses[server or 0, position] = address
        ports[address] = iscsi or data or DATA_PORT
    return addresses, ports


def _paths(
    server: int, addresses: dict[tuple[int, int], str], micros: dict[str, int]
) -> tuple[Path, ...]:
    there = (addresses.get((server, position)) for position in range(NETWORKS))
    return tuple(_path(micros.get(address)) if address else NONE for address in there)


def _path(micros: int | None) -> Path:
    if micros is None or micros < NO_ANSWER:
        return UNKNOWN
    if micros == NO_ANSWER:
        return Path(State.DOWN)
    return Path(State.SLOW if micros > SLOW_MICROS else State.OK, micros)
