"""The ends of the nodes' logs: asked of all agents, a few at once, within a fixed time."""

import errno
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

from agents.client import Fault
from agents.protocol import LogQuestion, LogReply
from inventory.models import HeadServer, StorageServer
from volumes import nodes

MOST_BYTES = 256 << 10
"""Of each log."""
AT_ONCE = 16
"""Nodes that are asked together: their answers are in memory until they are in the bundle."""
WITHIN = 12.0
"""Seconds for these; each answers within 10 s, or does not."""
LONGEST = 60.0
"""Seconds after which nobody else is asked."""
MOST_LOGS = 32
UNUSUAL = re.compile(r"[^\w.-]+")
Answer = LogReply | nodes.Failure


@dataclass(frozen=True, slots=True)
class AskedNode:
    """A node as its folder in the bundle is called, and how it is asked."""

    folder: str
    ask: Callable[[], LogReply]


def texts() -> Iterator[tuple[str, str]]:
    """Give the logs of all nodes by their names in the bundle; of one that is silent: why."""
    waiting, end = iter(_nodes()), time.monotonic() + LONGEST
    while some := list(islice(waiting, AT_ONCE)):
        left = end - time.monotonic()
        answers: Mapping[str, Answer] = {}
        if left > 0:
            questions = {node.folder: node.ask for node in some}
            answers = nodes.ask_all(questions, min(left, WITHIN))
        for node in some:
            yield from _told(node.folder, answers.get(node.folder))


def _nodes() -> list[AskedNode]:
    """Read whom to ask: all, for one that is said to be out of service may answer."""
    found: list[AskedNode] = []
    question = LogQuestion(MOST_BYTES)
    storages = {row.pk: row for row in StorageServer.objects.order_by("pk")}
    heads = {row.pk: row for row in HeadServer.objects.order_by("pk")}
    for storage_pk, storage in nodes.storages(list(storages)).items():
        folder = _folder(storages[storage_pk])
        found.append(AskedNode(folder, partial(storage.logs, question)))
    for head_pk, head in nodes.heads(list(heads)).items():
        found.append(AskedNode(_folder(heads[head_pk]), partial(head.logs, question)))
    return found


def _folder(row: StorageServer | HeadServer) -> str:
    return "nodes/" + "-".join(filter(None, (str(row), _usual(row.name))))


def _told(folder: str, answer: Answer | None) -> Iterator[tuple[str, str]]:
    if not isinstance(answer, LogReply):
        yield f"{folder}/no-logs.txt", f"{_why(answer)}\n"
        return
    for log in answer.logs[:MOST_LOGS]:
        yield f"{folder}/{_usual(log.name) or 'log'}", log.text


def _why(answer: nodes.Failure | None) -> str:
    if answer is None:
        return f"It was not asked: the {LONGEST:.0f} s that a bundle takes for nodes were over."
    if isinstance(answer, Fault) and answer.errno == errno.ENOSYS:
        return "Its agent is of an older release, which does not tell its logs."
    if isinstance(answer, Fault):
        return f"It declined: {answer}"
    return f"It did not answer: {answer}"


def _usual(name: str) -> str:
    """Make a file's name of what a node calls it."""
    return UNUSUAL.sub("_", name).strip(".")[:80]
