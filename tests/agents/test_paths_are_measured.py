"""A head measures how far storage servers are, while somebody asks."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from agents.errors import AgentError
from agents.node.head.path_watch import PathWatch, measure
from agents.protocol import MOST_PATHS, NO_ANSWER, NOT_MEASURED, PathQuestion, PathReply

HERE = "127.0.0.1"


@pytest.fixture
def port() -> Iterator[int]:
    """A port where somebody answers."""
    with socket.create_server((HERE, 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port whose machine drops what comes: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((HERE, 0), backlog=0))
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(server.getsockname())
        yield int(server.getsockname()[1])


def test_who_answers_is_measured_in_microseconds(port: int) -> None:
    found = measure({HERE: port, "127.0.0.2": port})

    assert 0 <= found[HERE] < 1_000_000


def test_who_refuses_has_answered_for_it_is_the_network_that_is_measured(port: int) -> None:
    assert measure({"127.0.0.9": port})["127.0.0.9"] >= 0


def test_who_drops_what_comes_does_not_answer(deaf: int) -> None:
    assert measure({HERE: deaf}, limit=0.1) == {HERE: NO_ANSWER}


def test_the_first_answer_knows_nothing_and_a_later_one_does(port: int) -> None:
    watch = PathWatch()
    question = PathQuestion((HERE,), port)
    first = watch.tell(question)

    assert first == PathReply((NOT_MEASURED,), 0)
    end = time.monotonic() + 5
    while (later := watch.tell(question)) == first and time.monotonic() < end:
        time.sleep(0.02)
    assert later.micros[0] >= 0
    assert later.age == 0


def test_each_address_is_measured_where_its_data_is(port: int, deaf: int) -> None:
    watch = PathWatch()
    question = PathQuestion((HERE,), deaf, (port,))
    end = time.monotonic() + 5
    while (told := watch.tell(question).micros) == (NOT_MEASURED,) and time.monotonic() < end:
        time.sleep(0.02)

    assert told[0] >= 0


@pytest.mark.parametrize("ports", [(1, 2), (0,), (65536,)])
def test_ports_that_there_are_not_are_refused(ports: tuple[int, ...]) -> None:
    with pytest.raises(AgentError):
        PathWatch().tell(PathQuestion((HERE,), 1, ports))


def test_names_are_not_looked_up() -> None:
    with pytest.raises(AgentError):
        PathWatch().tell(PathQuestion(("localhost",), 1))


def test_more_addresses_than_a_cluster_has_are_refused() -> None:
    with pytest.raises(AgentError):
        PathWatch().tell(PathQuestion((HERE,) * (MOST_PATHS + 1), 1))


def test_a_head_agent_tells_its_manager(head: Any, port: int, wait_until: Any) -> None:
    question = PathQuestion((HERE,), port)

    assert wait_until(lambda: head.agent.paths(question).micros[0] >= 0)
