"""The manager's end of the wire, against agents that behave badly."""

import contextlib
import re
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents import transport
from agents.client import AgentUnreachable, Fault, HeadAgent, Malformed, StorageAgent
from agents.protocol import Progress, ReplicaReport, ReplicaState, Report
from agents.struct_codec import to_struct

Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def peer(addresses: tuple[str, str]) -> Iterator[Callable[..., int]]:
    """Listen on an address and treat each connection as told; the port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def serve(listener: socket.socket, behave: Behaviour) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                behave(connection)
                connection.close()

    def listen(behave: Behaviour, address: str = addresses[0], port: int = 0) -> int:
        listener = socket.create_server((address, port))
        listeners.append(listener)
        thread = threading.Thread(target=serve, args=(listener, behave))
        thread.start()
        threads.append(thread)
        return int(listener.getsockname()[1])

    yield listen
    for listener in [*listeners, *connections]:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def sends(body: bytes, status: str = "200 OK", length: int | None = None) -> Behaviour:
    size = len(body) if length is None else length

    def behave(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode()
        connection.sendall(head + body)

    return behave


def answers(value: Any) -> Behaviour:
    return sends(xmlrpc.client.dumps((value,), methodresponse=True).encode())


REPORT = Report(5, 1, Progress.DONE)


def test_a_report_comes_back_as_a_dataclass(
    peer: Callable[..., int], addresses: tuple[str]
) -> None:
    port = peer(answers(to_struct(REPORT)))

    assert HeadAgent(addresses[:1], port).report(5, 1) == REPORT


def test_a_report_of_an_older_agent_tells_its_replicas(
    peer: Callable[..., int], addresses: tuple[str]
) -> None:
    told = {"dextid": 7, "mirrorid": 3, "state": "insync", "events": 2}
    port = peer(answers({"eventid": 5, "order": 1, "progress": "done", "copies": [told]}))

    report = HeadAgent(addresses[:1], port).report(5, 1)

    assert report.replicas == (ReplicaReport(7, 3, ReplicaState.INSYNC, 2),)


def test_a_fault_carries_its_errno(peer: Callable[..., int], addresses: tuple[str, str]) -> None:
    fault = xmlrpc.client.Fault(116, "too old")
    port = peer(sends(xmlrpc.client.dumps(fault, methodresponse=True).encode()))

    with pytest.raises(Fault, match="too old") as raised:
        HeadAgent(addresses, port).report(5, 1)
    assert raised.value.errno == 116


PYTHON = re.compile(r"Error|Exception|xmlrpc|\(\)|BadStatus|dict|NoneType|\bstr\b")
GARBAGE = {
    "no XML": b"\x00\xff garbage",
    "an HTML page": b"<html><body>hello</body></html>",
    "nothing": b"",
    "half an answer": b"<?xml version='1.0'?><methodResponse><params>",
    "a request": b"<methodCall><methodName>x</methodName><params/></methodCall>",
    "no params": b"<methodResponse><params/></methodResponse>",
    "a broken fault": b"<methodResponse><fault><value><int>1</int></value></fault>"
    b"</methodResponse>",
    "a fault of numbers": b"<methodResponse><fault><value><struct>"
    b"<member><name>faultCode</name><value><int>1</int></value></member>"
    b"<member><name>extra</name><value><int>2</int></value></member>"
    b"</struct></value></fault></methodResponse>",
    "a fault beyond errno": xmlrpc.client.dumps(
        xmlrpc.client.Fault(987654321, "?"), methodresponse=True
    ).encode(),
    "a bad int": b"<methodResponse><params><param><value><int>x</int></value></param></params>"
    b"</methodResponse>",
    "closing tags": b"<methodResponse><params><param><value><struct><member><value></value>"
    b"</member></struct></value></param></params></methodResponse>",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_malformed(
    peer: Callable[..., int], addresses: tuple[str, str], body: bytes
) -> None:
    with pytest.raises(Malformed) as raised:
        HeadAgent(addresses[:1], peer(sends(body))).state()
    assert not PYTHON.search(str(raised.value))


def test_a_right_answer_with_a_document_type_or_in_a_tower_is_malformed(
    peer: Callable[..., int], addresses: tuple[str, str]
) -> None:
    right = xmlrpc.client.dumps((to_struct(REPORT),), methodresponse=True).split("?>\n")[1]
    bodies = {
        "document type": "<!DOCTYPE methodResponse>" + right,
        "no XML-RPC": "<x>" * 100 + right + "</x>" * 100,
        "too deeply": right.replace("<struct>", "<array><data><value>" * 100, 1),
    }
    for words, body in bodies.items():
        with pytest.raises(Malformed, match=words):
            HeadAgent(addresses[:1], peer(sends(body.encode()))).report(5, 1)


@pytest.mark.parametrize(
    "value",
    [
        5,
        "x",
        [],
        {},
        {"eventid": "5"},
        {"eventid": {}},
        {"progress": "x" * 9999},
        {"progress": {}},
        {"copies": 1},
    ],
)
def test_an_answer_of_another_type_is_malformed(
    peer: Callable[..., int], addresses: tuple[str, str], value: object
) -> None:
    with pytest.raises(Malformed) as raised:
        HeadAgent(addresses[:1], peer(answers(value))).report(1, 1)
    assert not PYTHON.search(str(raised.value))
    assert len(str(raised.value)) < 200


def speaks_ssh(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9\r\n" * 3)
    hang(connection)


def test_what_is_no_http_is_malformed(peer: Callable[..., int], addresses: tuple[str, str]) -> None:
    port = peer(speaks_ssh)

    with pytest.raises(Malformed) as raised:
        HeadAgent(addresses[:1], port).state()
    assert not PYTHON.search(str(raised.value))


def test_an_answer_that_is_too_long_is_malformed_unread(
    peer: Callable[..., int], addresses: tuple[str, str]
) -> None:
    port = peer(sends(b"", length=(64 << 20) + 1))

    with pytest.raises(Malformed, match="more than"):
        HeadAgent(addresses[:1], port).state()


def test_an_answer_without_an_end_is_cut_off(
    peer: Callable[..., int], addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER", 1 << 16)

    def behave(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1 << 20))

    with pytest.raises(Malformed, match="more than"):
        HeadAgent(addresses[:1], peer(behave)).state()


def drip(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(60):
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def hang(connection: socket.socket) -> None:
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


@pytest.mark.parametrize("behave", [drip, hang])
def test_the_deadline_holds_against_a_peer_that_drips_or_hangs(
    peer: Callable[..., int], addresses: tuple[str, str], behave: Behaviour
) -> None:
    port = peer(behave)

    began = time.monotonic()
    with pytest.raises(AgentUnreachable, match="timed out"):
        HeadAgent(addresses[:1], port, timeout=0.5).state()
    assert 0.4 < time.monotonic() - began < 1.5


def test_a_hang_up_and_a_closed_door_are_unreachable(
    peer: Callable[..., int], addresses: tuple[str, str]
) -> None:
    for behave in (lambda _: None, sends(b"half", length=100), sends(b"", "401 Unauthorized")):
        with pytest.raises(AgentUnreachable):
            HeadAgent(addresses[:1], peer(behave)).state()


def test_a_refused_address_is_followed_by_the_other_which_then_goes_first(
    peer: Callable[..., int], addresses: tuple[str, str]
) -> None:
    port = peer(answers(to_struct(REPORT)), address=addresses[1])
    heard: list[int] = []
    assert StorageAgent(addresses, port).report(5, 1) == REPORT

    def note(connection: socket.socket) -> None:
        heard.append(1)
        answers(to_struct(REPORT))(connection)

    peer(note, address=addresses[0], port=port)
    assert StorageAgent(addresses, port).report(5, 1) == REPORT
    assert heard == []


def test_after_a_silent_address_the_other_goes_first(
    peer: Callable[..., int], addresses: tuple[str, str]
) -> None:
    port = peer(hang)
    peer(answers(to_struct(REPORT)), address=addresses[1], port=port)
    agent = StorageAgent(addresses, port, timeout=0.3)

    with pytest.raises(AgentUnreachable):
        agent.report(5, 1)
    assert agent.report(5, 1) == REPORT


def test_nobody_there_names_both_addresses(
    addresses: tuple[str, str], free_port: Callable[[], int]
) -> None:
    with pytest.raises(AgentUnreachable) as raised:
        StorageAgent(addresses, free_port()).state()
    assert addresses[0] in str(raised.value)
    assert addresses[1] in str(raised.value)


def test_proxies_of_the_environment_are_not_used(
    peer: Callable[..., int], addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")

    assert HeadAgent(addresses, peer(answers(to_struct(REPORT)))).report(5, 1) == REPORT
